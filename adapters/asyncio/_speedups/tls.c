/* The fast path of TLS: TLSTransport of adapters/asyncio/tls.py and MemoryTLS of adapters/shared/memory_tls.py,
   which are its specification.

   TLS itself is that of the module ssl. Received bytes are decrypted into the read buffer, from which they
   came; the records of a message are written to the socket without a transport in between. */

#include "connection.h"

#include <string.h>

/* Bytes of plaintext in a record (RFC 8446 section 5.1). */
#define RECORD 16384

/* Bytes that are encrypted before they are written. */
#define ENCRYPTED_AT_ONCE 262144

#define TLS(tls, slot) slot_get(tls, state->offsets.tls_##slot)

static bool
is_empty(PyObject *bytes)
{
    return bytes != NULL && PyBytes_Check(bytes) && PyBytes_GET_SIZE(bytes) == 0;
}

bool
tls_is_fast(struct asyncio_state *state, PyObject *tls)
{
    if (!Py_IS_TYPE(tls, (PyTypeObject *)state->tls_transport_type)) {
        return false;
    }
    PyObject *memory = TLS(tls, memory);
    return TLS(tls, ignoring) == Py_False && TLS(tls, failure) == Py_None && is_empty(TLS(tls, unwritten))
           && Py_IS_TYPE(memory, (PyTypeObject *)state->memory_tls_type)
           && TLS(memory, established) == Py_True && TLS(memory, ended) == Py_False
           && TLS(memory, error) == Py_None && TLS(memory, below) == Py_None && is_empty(TLS(memory, unsent));
}

/* Bytes in a MemoryBIO; -1 with an exception set. */
static Py_ssize_t
pending_in(struct asyncio_state *state, PyObject *bio)
{
    PyObject *pending = PyObject_GetAttr(bio, state->name_pending);
    Py_ssize_t result = pending == NULL ? -1 : PyLong_AsSsize_t(pending);
    Py_XDECREF(pending);
    return result;
}

/* Call a method with one argument, which is taken and may be NULL, and drop the result. */
static int
call_with(PyObject *object, PyObject *name, PyObject *argument)
{
    PyObject *result = argument == NULL ? NULL : PyObject_CallMethodOneArg(object, name, argument);
    Py_XDECREF(argument);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Receiving */

int
tls_take(struct asyncio_state *state, PyObject *tls, uint8_t *data, Py_ssize_t length)
{
    PyObject *view = PyMemoryView_FromMemory((char *)data, length, PyBUF_READ);
    return call_with(TLS(TLS(tls, memory), incoming), state->name_plain_write, view);
}

/* Decrypt one record, or the part of it for which there is room. Returns 0 at the end of TLS; -1 with an
   exception set. */
static Py_ssize_t
read_record(struct asyncio_state *state, PyObject *memory, uint8_t *buffer, size_t room)
{
    PyObject *size = PyLong_FromSize_t(room);
    PyObject *view = PyMemoryView_FromMemory((char *)buffer, (Py_ssize_t)room, PyBUF_WRITE);
    PyObject *count = NULL;
    if (size != NULL && view != NULL) {
        PyObject *arguments[] = {TLS(memory, object), size, view};
        count = PyObject_VectorcallMethod(state->name_read, arguments, 3, NULL);
    }
    Py_ssize_t result = count == NULL ? -1 : PyLong_AsSsize_t(count);
    Py_XDECREF(size);
    Py_XDECREF(view);
    Py_XDECREF(count);
    return result;
}

/* Reading has raised an exception: nothing if more bytes have to be received first; -1 if it is none of TLS. */
static int
handle_read_error(struct asyncio_state *state, PyObject *memory)
{
    if (PyErr_ExceptionMatches(state->want_read_error)) {
        PyErr_Clear();
        return 0;
    }
    if (!PyErr_ExceptionMatches(state->ssl_error)) {
        return -1;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return call_with(memory, state->name_fail, value);
}

Py_ssize_t
tls_decrypt(struct asyncio_state *state, PyObject *tls, uint8_t *buffer, size_t capacity, bool *full)
{
    PyObject *memory = TLS(tls, memory);
    size_t used = 0;
    Py_ssize_t pending = 1, count;
    /* The last record may have come out in part only: so try once if there is nothing more to decrypt. */
    while (pending > 0 && used < capacity) {
        count = read_record(state, memory, buffer + used, capacity - used);
        if (count < 0) {
            if (handle_read_error(state, memory) < 0) {
                return -1;
            }
            break;
        }
        if (count == 0) {
            slot_set_bool(memory, state->offsets.tls_ended, true);
            break;
        }
        used += (size_t)count;
        pending = pending_in(state, TLS(memory, incoming));
    }
    *full = used == capacity;
    Py_ssize_t answers = pending < 0 ? -1 : pending_in(state, TLS(memory, outgoing));
    if (answers < 0
        || ((answers > 0 || TLS(memory, error) != Py_None)
            && (call_method(memory, state->name_collect) < 0 || call_method(tls, state->name_answer) < 0))) {
        return -1;
    }
    return (Py_ssize_t)used;
}

bool
tls_has_ended(struct asyncio_state *state, PyObject *tls)
{
    return TLS(TLS(tls, memory), ended) == Py_True;
}

/* Sending */

/* What has been encrypted of a list of buffers. */
struct progress {
    Py_ssize_t index; /* of the buffer that comes next */
    size_t offset;    /* bytes of it that have been taken */
};

/* Encrypt the beginning of `data`. Returns the number of bytes; -1 with an exception set. */
static Py_ssize_t
encrypt(struct asyncio_state *state, PyObject *memory, const uint8_t *data, size_t length)
{
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)length, PyBUF_READ);
    PyObject *count =
        view == NULL ? NULL : PyObject_CallMethodOneArg(TLS(memory, object), state->name_plain_write, view);
    Py_ssize_t result = count == NULL ? -1 : PyLong_AsSsize_t(count);
    Py_XDECREF(view);
    Py_XDECREF(count);
    return result;
}

/* Copy bytes of buffers until a record is full; returns their number. */
static size_t
gather(PyObject *list, struct progress *progress, uint8_t record[RECORD])
{
    size_t filled = 0;
    while (filled < RECORD && progress->index < PyList_GET_SIZE(list)) {
        PyObject *buffer = PyList_GET_ITEM(list, progress->index);
        size_t left = (size_t)PyBytes_GET_SIZE(buffer) - progress->offset;
        size_t count = left < RECORD - filled ? left : RECORD - filled;
        memcpy(record + filled, PyBytes_AS_STRING(buffer) + progress->offset, count);
        filled += count;
        progress->offset += count;
        if (count == left) {
            progress->index++;
            progress->offset = 0;
        }
    }
    return filled;
}

/* Encrypting has raised an exception: let the method in Python handle it, which is given all that is left:
   `length` bytes, and the buffers that follow. */
static int
leave_rest(struct asyncio_state *state, PyObject *tls, const uint8_t *data, size_t length, PyObject *list,
           struct progress progress)
{
    if (!PyErr_ExceptionMatches(state->ssl_error)) {
        return -1;
    }
    PyErr_Clear();
    PyObject *rest = PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)length);
    for (; rest != NULL && progress.index < PyList_GET_SIZE(list); progress.index++, progress.offset = 0) {
        PyObject *buffer = PyList_GET_ITEM(list, progress.index);
        PyBytes_ConcatAndDel(&rest, PyBytes_FromStringAndSize(PyBytes_AS_STRING(buffer) + progress.offset,
                                                              PyBytes_GET_SIZE(buffer)
                                                                  - (Py_ssize_t)progress.offset));
    }
    return call_with(tls, state->name_plain_write, rest);
}

/* Encrypt what is left of a buffer, record by record, until so many bytes are done. Returns -1 with an exception
   set. */
static int
encrypt_bytes(struct asyncio_state *state, PyObject *memory, const uint8_t *data, size_t length, size_t *done)
{
    while (*done < length && *done < ENCRYPTED_AT_ONCE) {
        size_t left = length - *done;
        left = left < ENCRYPTED_AT_ONCE ? left : ENCRYPTED_AT_ONCE;
        Py_ssize_t count = encrypt(state, memory, data + *done, left);
        if (count < 0) {
            return -1;
        }
        *done += (size_t)count;
    }
    return 0;
}

/* Encrypt a record of small buffers, or some of a large one. Returns the number of bytes; -1 with an exception
   set. `direct` turns false if all has been given to the transport. */
static Py_ssize_t
encrypt_some(struct asyncio_state *state, PyObject *tls, PyObject *list, struct progress *progress, bool *direct)
{
    uint8_t record[RECORD];
    PyObject *buffer = PyList_GET_ITEM(list, progress->index);
    const uint8_t *data = (const uint8_t *)PyBytes_AS_STRING(buffer) + progress->offset;
    size_t length = (size_t)PyBytes_GET_SIZE(buffer) - progress->offset, done = 0;
    if (length < RECORD) {
        data = record;
        length = gather(list, progress, record);
    } else {
        progress->index++;
        progress->offset = 0;
    }
    if (encrypt_bytes(state, TLS(tls, memory), data, length, &done) < 0) {
        int result = leave_rest(state, tls, data + done, length - done, list, *progress);
        progress->index = PyList_GET_SIZE(list);
        *direct = false;
        return result;
    }
    if (done < length) {
        progress->index--;
        progress->offset = (size_t)PyBytes_GET_SIZE(buffer) - (length - done);
    }
    return (Py_ssize_t)done;
}

/* Write the records: to the socket if `direct`, which turns false if it does not take all. */
static int
write_records(struct asyncio_state *state, PyObject *connection, PyObject *tls, bool *direct)
{
    PyObject *memory = TLS(tls, memory);
    if (*direct) {
        PyObject *records = PyObject_CallMethodNoArgs(TLS(memory, outgoing), state->name_read);
        if (records == NULL) {
            return -1;
        }
        Py_ssize_t sent = write_bytes(state, connection, records);
        if (sent == PyBytes_GET_SIZE(records)) {
            Py_DECREF(records);
            return 0;
        }
        *direct = false;
        if (sent > 0) {
            Py_SETREF(records, PySequence_GetSlice(records, sent, PY_SSIZE_T_MAX));
        }
        if (records == NULL) {
            return -1;
        }
        slot_set(memory, state->offsets.tls_unsent, records);
    } else if (call_method(memory, state->name_collect) < 0) {
        return -1;
    }
    return call_method(tls, state->name_write_records);
}

int
tls_write(struct asyncio_state *state, PyObject *connection, PyObject *tls, PyObject *list)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (!PyBytes_CheckExact(PyList_GET_ITEM(list, i))) {
            return 1;
        }
    }
    struct progress progress = {0};
    Py_ssize_t unwritten = 0;
    bool direct = true;
    while (progress.index < PyList_GET_SIZE(list)) {
        Py_ssize_t count = encrypt_some(state, tls, list, &progress, &direct);
        unwritten += count;
        bool writes = unwritten >= ENCRYPTED_AT_ONCE || progress.index == PyList_GET_SIZE(list);
        if (count < 0 || (writes && write_records(state, connection, tls, &direct) < 0)) {
            return -1;
        }
        unwritten = writes ? 0 : unwritten;
    }
    if (direct) {
        return 0;
    }
    /* All has been given to the transport. */
    return PyList_SetSlice(list, 0, PY_SSIZE_T_MAX, NULL) < 0 ? -1 : 1;
}
