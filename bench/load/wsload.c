/*
 * wsload: a load generator for WebSocket servers, in one thread, on epoll.
 *
 *   wsload HOST PORT PATH CONNECTIONS SIZE DEPTH SECONDS text|binary [OPTION ...]
 *
 * By default, it keeps DEPTH messages of SIZE bytes in flight on each connection of an echo server. Other
 * modes, seen from the server:
 *
 *   --receive-only  Messages are sent without a pause; then the text message "fin", which the server answers
 *                   with the number of messages that it has counted.
 *   --send-only     The text message "COUNT SIZE" is sent, which the server answers with COUNT messages of
 *                   SIZE bytes; again and again.
 *   --broadcast     The same on one of the connections, and the answers come on all of them.
 *   --idle          The connections are opened and kept; a line is printed when all are open.
 *   --subscribe     The connections are opened and kept; a line is printed when all are open. Each line of
 *                   standard input is a number: when so many messages have come on all connections together,
 *                   a line is printed with their number, and the least and the most of one connection.
 *   --handshakes    Connections are opened and closed, CONNECTIONS at a time.
 *
 * Options:
 *
 *   --raw           No WebSocket: SIZE bytes out, SIZE bytes back. Instead of "fin", the client ends its half
 *                   of the stream; the count is one of bytes.
 *   --tls           On TLS; the certificate is not verified.
 *   --deflate       Offers permessage-deflate. If the server accepts it, messages are sent compressed.
 *   --offer TEXT    Offers TEXT as Sec-WebSocket-Extensions, nothing if it is empty. If it is given several
 *                   times, the connections take turns.
 *   --greeting TEXT Sends a text message on each connection when it is open.
 *   --source IP     The IPv4 address of the connections at this end.
 *   --verify        Compares each payload that comes back; not possible with compression.
 *   --warm-up S     Seconds that do not count (0.2).
 *   --server PID    Measures the CPU time of the server's process in the same time.
 *
 * The frames of a connection are copies of one that was made before, so that the client spends its time in
 * the kernel and reads nothing but headers. After the measured time it stops sending, waits for each answer
 * that is due, and prints one line of JSON. There, "clean" tells whether each message was answered.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clocks.h"
#include "frames.h"
#include "histogram.h"
#include "payload.h"
#include "stream.h"

/* The key of the example in RFC 6455 section 1.3, so that the right answer is known without SHA-1. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum {
    READ_SIZE = 256 * 1024,
    TEMPLATE_SIZE = 256 * 1024,
    TEMPLATE_FRAMES = 1024,
    MAX_HEAD = 4096,
    MAX_OPENING = 64,
    MAX_EVENTS = 256,
    MAX_OFFERS = 8,
    MAX_TEXT = 100, /* of an option */
    MIN_WINDOW_BITS = 12
};

#define SECOND 1000000000ull

enum mode { ECHO, RECEIVE_ONLY, SEND_ONLY, BROADCAST, IDLE, SUBSCRIBE, HANDSHAKES };
static const char *const MODE_NAMES[] = {"echo", "receive-only", "send-only", "broadcast",
                                         "idle", "subscribe",    "handshakes"};

enum state { CLOSED, CONNECTING, TLS_HANDSHAKE, OPENING_HANDSHAKE, OPEN, CLOSING };

/* Reads frames in any chunks. */
struct frame_reader {
    unsigned char header[MAX_HEADER];
    size_t header_length;
    bool in_payload;
    uint64_t payload_left;
};

struct connection {
    struct stream stream;
    enum state state;
    uint64_t opened_at;

    /* Output: frames of the template, and control frames or requests between them. */
    uint64_t bytes_to_send;
    size_t frame_offset; /* how much of the current frame is sent */
    bool frame_blocked;  /* the stream could not take the frame; it must get it before anything else */
    bool watches_output;
    unsigned char control[512];
    size_t control_start, control_end;

    /* Input. */
    char *head; /* of the HTTP response */
    size_t head_length;
    struct frame_reader frames;
    uint64_t message_bytes;
    char text[128]; /* a short message or the payload of a control frame */
    size_t text_length;
    bool close_received;

    /* Messages. */
    uint64_t sent, answered;
    uint64_t due;             /* messages, or bytes if raw, that are to come from the server */
    bool count_received;      /* the server has told how many messages it has counted */
    uint64_t *send_times;     /* of the messages in flight: a ring */
    size_t oldest, newest;
};

/* The command line. */
static enum mode mode = ECHO;
static bool raw, use_tls, offer_deflate, verify;
static struct sockaddr_in address, source;
static const char *path;
static char host[64];
static int connection_count;
static const char *offers[MAX_OFFERS];
static int offer_count;
static const char *greeting;
static size_t size, depth;
static double seconds, warm_up = 0.2;
static unsigned data_opcode;
static pid_t server;

/* The state of the run. */
static int epoll;
static bool running = true;
static bool input_ready; /* standard input can be read */
static bool deflate; /* was negotiated */
static struct connection *connections;
static int opening, next_to_open, open_connections;
static unsigned char *payload;
static unsigned char *template; /* several copies of the frame that is sent */
static size_t frame_length, template_frames, template_length;
static uint64_t messages_per_request;
static uint64_t broadcast_due;
static uint64_t now; /* when the current input was read */
static uint64_t completed;
static struct histogram latencies;

static void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("{\"error\": \"");
    vprintf(format, arguments);
    printf("\"}\n");
    va_end(arguments);
    exit(1);
}

static void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes);
    if (memory == NULL)
        fail("no memory");
    return memory;
}

/* -------------------------------------------------------------------------------------------- template */

static size_t make_frame(unsigned char *out) {
    if (raw) {
        memcpy(out, payload, size);
        return size;
    }
    if (!deflate)
        return write_masked_frame(out, FIN | data_opcode, payload, size);
    unsigned char *compressed = allocate(deflate_bound(size));
    size_t length = deflate_text(payload, size, compressed);
    length = write_masked_frame(out, FIN | RSV1 | data_opcode, compressed, length);
    free(compressed);
    return length;
}

static void make_template(void) {
    unsigned char *frame = allocate(deflate_bound(size) + MAX_HEADER);
    frame_length = make_frame(frame);
    template_frames = TEMPLATE_SIZE / frame_length;
    if (template_frames < 1)
        template_frames = 1;
    if (template_frames > TEMPLATE_FRAMES)
        template_frames = TEMPLATE_FRAMES;
    template_length = template_frames * frame_length;
    free(template);
    template = allocate(template_length);
    for (size_t i = 0; i < template_frames; i++)
        memcpy(template + i * frame_length, frame, frame_length);
    free(frame);
}

/* ----------------------------------------------------------------------------------------- connections */

static void watch(struct connection *connection, int operation, bool output) {
    struct epoll_event event = {.events = EPOLLIN | (output ? EPOLLOUT : 0), .data.ptr = connection};
    connection->watches_output = output;
    epoll_ctl(epoll, operation, connection->stream.socket, &event);
}

static void watch_output(struct connection *connection, bool output) {
    if (output != connection->watches_output)
        watch(connection, EPOLL_CTL_MOD, output);
}

static void open_connection(struct connection *connection) {
    uint64_t *send_times = connection->send_times;
    *connection = (struct connection){.opened_at = now_ns(), .state = CONNECTING, .send_times = send_times};
    if (send_times == NULL)
        connection->send_times = allocate(sizeof(uint64_t) * (depth + 1));
    if (!stream_connect(&connection->stream, &address, source.sin_family == 0 ? NULL : &source, use_tls))
        fail("cannot connect: %s", strerror(errno));
    watch(connection, EPOLL_CTL_ADD, true);
    opening++;
}

static void open_more(void) {
    while (opening < MAX_OPENING && next_to_open < connection_count)
        open_connection(&connections[next_to_open++]);
}

static void drop(struct connection *connection) {
    if (connection->state == CLOSED)
        return;
    if (connection->state < OPEN)
        opening--;
    else
        open_connections--;
    stream_close(&connection->stream);
    free(connection->head);
    connection->head = NULL;
    connection->state = CLOSED;
}

/* ---------------------------------------------------------------------------------------------- output */

static bool control_pending(const struct connection *connection) {
    return connection->control_start < connection->control_end;
}

static bool has_output(const struct connection *connection) {
    return connection->bytes_to_send > 0 || control_pending(connection);
}

static void queue_control(struct connection *connection, unsigned opcode, const void *body, size_t length) {
    if (!control_pending(connection))
        connection->control_start = connection->control_end = 0;
    if (connection->control_end + length + MAX_HEADER > sizeof connection->control)
        return; /* the server sends pings faster than it reads */
    unsigned char *end = connection->control + connection->control_end;
    if (raw) {
        memcpy(end, body, length);
        connection->control_end += length;
    } else {
        connection->control_end += write_masked_frame(end, FIN | opcode, body, length);
    }
}

static void queue_close(struct connection *connection) {
    queue_control(connection, CLOSE, "\x03\xe8", 2);
    connection->state = CLOSING;
}

/* Sends a part of what is queued; returns false if the stream takes no more. */
static bool send_some(struct connection *connection) {
    if (control_pending(connection) && connection->frame_offset == 0 && !connection->frame_blocked) {
        ssize_t sent = stream_write(&connection->stream, connection->control + connection->control_start,
                                    connection->control_end - connection->control_start);
        if (sent < 0)
            return false;
        connection->control_start += (size_t)sent;
        return true;
    }
    size_t length = template_length - connection->frame_offset;
    if (length > connection->bytes_to_send)
        length = connection->bytes_to_send;
    ssize_t sent = stream_write(&connection->stream, template + connection->frame_offset, length);
    connection->frame_blocked = sent < 0;
    if (sent < 0)
        return false;
    connection->bytes_to_send -= (uint64_t)sent;
    connection->frame_offset = (connection->frame_offset + (size_t)sent) % frame_length;
    return true;
}

static void flush(struct connection *connection) {
    while (has_output(connection)) {
        if (send_some(connection))
            continue;
        if (errno == EAGAIN)
            watch_output(connection, true);
        else if (running)
            fail("cannot send: %s", strerror(errno));
        else
            drop(connection);
        return;
    }
    watch_output(connection, false);
}

static size_t next_in_ring(size_t position) { return position == depth ? 0 : position + 1; }

static void queue_messages(struct connection *connection, size_t count) {
    for (size_t i = 0; i < count; i++) {
        connection->send_times[connection->newest] = now;
        connection->newest = next_in_ring(connection->newest);
    }
    connection->sent += count;
    connection->bytes_to_send += (uint64_t)count * frame_length;
}

/* Keeps the stream full in the mode RECEIVE_ONLY. */
static void send_without_pause(struct connection *connection) {
    if (running && connection->bytes_to_send == 0) {
        connection->bytes_to_send = template_length;
        connection->sent += template_frames;
    }
    flush(connection);
    if (running)
        watch_output(connection, true);
}

static void request_messages(struct connection *connection) {
    char request[64];
    int length = snprintf(request, sizeof request, "%lu %zu", (unsigned long)messages_per_request, size);
    uint64_t due = raw ? messages_per_request * size : messages_per_request;
    if (mode == BROADCAST) {
        for (int i = 0; i < connection_count; i++)
            connections[i].due = due;
        broadcast_due = due * (uint64_t)connection_count;
    }
    connection->due = due;
    queue_control(connection, TEXT, request, (size_t)length);
    flush(connection);
}

static void begin(void) {
    now = now_ns();
    for (int i = 0; i < connection_count; i++) {
        struct connection *connection = &connections[i];
        if (mode == ECHO) {
            queue_messages(connection, depth);
            flush(connection);
        } else if (mode == RECEIVE_ONLY) {
            send_without_pause(connection);
        } else if (mode == SEND_ONLY || (mode == BROADCAST && i == 0)) {
            request_messages(connection);
        }
    }
}

/* ----------------------------------------------------------------------------------------------- input */

static void echo_received(struct connection *connection) {
    if (connection->answered == connection->sent)
        fail("more answers than messages");
    connection->answered++;
    completed++;
    histogram_add(&latencies, now - connection->send_times[connection->oldest]);
    connection->oldest = next_in_ring(connection->oldest);
    if (running)
        queue_messages(connection, 1);
}

/* Notes that messages, or bytes if raw, which were asked for have come. */
static void requested_received(struct connection *connection, uint64_t amount) {
    if (amount > connection->due)
        fail("more was sent than asked for");
    connection->due -= amount;
    if (mode == SEND_ONLY && connection->due == 0 && running)
        request_messages(connection);
    if (mode == BROADCAST) {
        broadcast_due -= amount;
        if (broadcast_due == 0 && running)
            request_messages(&connections[0]);
    }
}

static void check_message_size(const struct connection *connection) {
    if (!deflate && connection->message_bytes != size)
        fail("a message has %lu bytes, not %zu", (unsigned long)connection->message_bytes, size);
}

static void message_received(struct connection *connection) {
    switch (mode) {
    case ECHO:
        check_message_size(connection);
        echo_received(connection);
        break;
    case SEND_ONLY:
    case BROADCAST:
        check_message_size(connection);
        completed++;
        requested_received(connection, 1);
        break;
    case RECEIVE_ONLY:
        connection->text[connection->text_length] = '\0';
        connection->answered = strtoull(connection->text, NULL, 10);
        connection->count_received = true;
        break;
    case SUBSCRIBE:
        connection->answered++;
        completed++;
        break;
    default:
        fail("unexpected message");
    }
}

static void close_received(struct connection *connection) {
    if (connection->state != CLOSING) {
        const unsigned char *code = (const unsigned char *)connection->text;
        fail("the server closes the connection with code %d",
             connection->text_length > 1 ? code[0] << 8 | code[1] : 1005);
    }
    if (mode == HANDSHAKES && !connection->close_received) {
        completed++;
        histogram_add(&latencies, now - connection->opened_at);
        stream_shut_down(&connection->stream);
    }
    connection->close_received = true;
}

static void frame_received(struct connection *connection) {
    unsigned first_byte = connection->frames.header[0];
    unsigned opcode = first_byte & 15;
    connection->frames.in_payload = false;
    connection->frames.header_length = 0;
    if (opcode == PING)
        queue_control(connection, PONG, connection->text, connection->text_length);
    else if (opcode == CLOSE)
        close_received(connection);
    else if (opcode != PONG && (first_byte & FIN))
        message_received(connection);
}

static void header_received(struct connection *connection) {
    struct frame_reader *frames = &connection->frames;
    unsigned first_byte = frames->header[0];
    unsigned opcode = first_byte & 15;
    frames->payload_left = payload_length(frames->header);
    frames->in_payload = true;
    if (frames->header[1] & MASKED)
        fail("the server masks a frame");
    if ((first_byte & RSV2_RSV3) || ((first_byte & RSV1) && !deflate))
        fail("a reserved bit is set");
    if (opcode > PONG || (opcode > BINARY && opcode < CLOSE))
        fail("opcode %u", opcode);
    if (opcode == TEXT || opcode == BINARY) {
        if (mode == ECHO && opcode != data_opcode)
            fail("the answer has another opcode");
        connection->message_bytes = 0;
    }
    if (opcode != CONTINUATION)
        connection->text_length = 0;
    if (opcode < CLOSE)
        connection->message_bytes += frames->payload_left;
    if (frames->payload_left == 0)
        frame_received(connection);
}

static void keep_text(struct connection *connection, const unsigned char *data, size_t length) {
    for (size_t i = 0; i < length && connection->text_length < sizeof connection->text - 1; i++)
        connection->text[connection->text_length++] = (char)data[i];
}

static void payload_received(struct connection *connection, const unsigned char *data, size_t length) {
    struct frame_reader *frames = &connection->frames;
    bool is_control = (frames->header[0] & 15) >= CLOSE;
    if (is_control || mode == RECEIVE_ONLY) {
        keep_text(connection, data, length);
    } else if (verify && mode == ECHO && !deflate) {
        uint64_t offset = connection->message_bytes - frames->payload_left;
        if (connection->message_bytes > size || memcmp(data, payload + offset, length) != 0)
            fail("a payload has come back changed");
    }
    frames->payload_left -= length;
    if (frames->payload_left == 0)
        frame_received(connection);
}

static void receive_frames(struct connection *connection, const unsigned char *data, size_t length) {
    struct frame_reader *frames = &connection->frames;
    while (length > 0) {
        size_t used = 1;
        if (frames->in_payload) {
            used = length < frames->payload_left ? length : frames->payload_left;
            payload_received(connection, data, used);
        } else {
            frames->header[frames->header_length++] = *data;
            if (frames->header_length >= 2 && frames->header_length == header_length(frames->header))
                header_received(connection);
        }
        data += used;
        length -= used;
    }
}

static void receive_raw(struct connection *connection, const unsigned char *data, size_t length) {
    if (mode == RECEIVE_ONLY) {
        keep_text(connection, data, length);
        return;
    }
    connection->message_bytes += length;
    while (connection->message_bytes >= size) {
        connection->message_bytes -= size;
        if (mode == ECHO)
            echo_received(connection);
        else
            completed++;
    }
    if (mode != ECHO)
        requested_received(connection, length);
}

static void connection_opened(struct connection *connection) {
    connection->state = OPEN;
    opening--;
    open_connections++;
    if (mode == HANDSHAKES)
        queue_close(connection);
    if (greeting != NULL)
        queue_control(connection, TEXT, greeting, strlen(greeting));
    flush(connection);
    open_more();
}

static void check_response(const char *head) {
    if (strncmp(head, "HTTP/1.1 101", 12) != 0)
        fail("refused: %.12s", head);
    if (strstr(head, ACCEPT) == NULL)
        fail("wrong Sec-WebSocket-Accept");
    if (!offer_deflate || deflate || strcasestr(head, "permessage-deflate") == NULL)
        return;
    const char *bits = strcasestr(head, "client_max_window_bits=");
    if (bits != NULL && atoi(bits + strlen("client_max_window_bits=")) < MIN_WINDOW_BITS)
        fail("the client's window is too small");
    deflate = true;
    if (mode != HANDSHAKES)
        make_template();
}

/* Returns the number of bytes that belong to the head of the response. */
static size_t receive_head(struct connection *connection, const unsigned char *data, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (connection->head_length == MAX_HEAD - 1)
            fail("the head of the response is too long");
        connection->head[connection->head_length++] = (char)data[i];
        char *end = connection->head + connection->head_length;
        if (connection->head_length >= 4 && memcmp(end - 4, "\r\n\r\n", 4) == 0) {
            *end = '\0';
            check_response(connection->head);
            free(connection->head);
            connection->head = NULL;
            connection_opened(connection);
            return i + 1;
        }
    }
    return length;
}

static void send_request(struct connection *connection) {
    const char *offer = offer_count == 0 ? "" : offers[(connection - connections) % offer_count];
    char request[1024];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                          path, host, *offer == '\0' ? "" : "Sec-WebSocket-Extensions: ", offer,
                          *offer == '\0' ? "" : "\r\n");
    if (stream_write(&connection->stream, request, (size_t)length) != length)
        fail("the request was not sent");
    connection->head = allocate(MAX_HEAD);
    connection->state = OPENING_HANDSHAKE;
    watch_output(connection, false);
}

static void on_connected(struct connection *connection) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(connection->stream.socket, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0)
        fail("cannot connect: %s", strerror(error));
    connection->state = TLS_HANDSHAKE;
}

static void do_tls_handshake(struct connection *connection) {
    switch (stream_handshake(&connection->stream)) {
    case STREAM_WANTS_INPUT:
        watch_output(connection, false);
        break;
    case STREAM_WANTS_OUTPUT:
        watch_output(connection, true);
        break;
    case STREAM_FAILED:
        fail("the TLS handshake failed");
    case STREAM_READY:
        if (raw)
            connection_opened(connection);
        else
            send_request(connection);
    }
}

static void on_end_of_stream(struct connection *connection) {
    if (running && connection->state != CLOSING)
        fail("the connection is lost");
    if (mode == RECEIVE_ONLY && raw && connection->text_length > 0) {
        connection->text[connection->text_length] = '\0';
        connection->answered = strtoull(connection->text, NULL, 10) / size;
        connection->count_received = true;
    }
    drop(connection);
    if (mode == HANDSHAKES && running)
        open_connection(connection);
}

static void receive(struct connection *connection, const unsigned char *data, size_t length) {
    if (connection->state == OPENING_HANDSHAKE) {
        size_t used = receive_head(connection, data, length);
        data += used;
        length -= used;
    }
    if (raw)
        receive_raw(connection, data, length);
    else
        receive_frames(connection, data, length);
}

static void on_readable(struct connection *connection) {
    static unsigned char buffer[READ_SIZE];
    do {
        ssize_t length = stream_read(&connection->stream, buffer, sizeof buffer);
        if (length < 0 && errno == EAGAIN)
            break;
        if (length < 0 && running && mode != HANDSHAKES)
            fail("cannot receive: %s", strerror(errno));
        if (length <= 0) {
            on_end_of_stream(connection);
            return;
        }
        now = now_ns();
        receive(connection, buffer, (size_t)length);
    } while (stream_has_pending(&connection->stream));
    if (connection->state >= OPEN && has_output(connection) && !connection->watches_output)
        flush(connection);
}

/* ------------------------------------------------------------------------------------------------ loop */

static void on_event(struct connection *connection, uint32_t events) {
    if (connection->state == CONNECTING)
        on_connected(connection);
    if (connection->state == TLS_HANDSHAKE) {
        do_tls_handshake(connection);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_readable(connection);
    if ((events & EPOLLOUT) && connection->state >= OPEN) {
        if (mode == RECEIVE_ONLY)
            send_without_pause(connection);
        else
            flush(connection);
    }
}

static void poll_once(int milliseconds) {
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(epoll, events, MAX_EVENTS, milliseconds);
    now = now_ns();
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL)
            input_ready = true;
        else
            on_event(events[i].data.ptr, events[i].events);
    }
}

static void run_for(double duration) {
    uint64_t deadline = now_ns() + (uint64_t)(duration * (double)SECOND);
    while ((now = now_ns()) < deadline) {
        uint64_t milliseconds = (deadline - now) / 1000000;
        poll_once(milliseconds > 100 ? 100 : (int)milliseconds);
    }
}

static void open_all(void) {
    uint64_t deadline = now_ns() + 60 * SECOND + (uint64_t)connection_count * (SECOND / 100);
    open_more();
    while (mode != HANDSHAKES && open_connections < connection_count) {
        poll_once(100);
        if (now > deadline)
            fail("no more than %d connections could be opened", open_connections);
    }
    /* Without a handshake, the server may not have accepted all of them; and their handlers, which a
     * broadcast needs, may not have begun. */
    if (raw || mode == BROADCAST)
        run_for(0.3);
}

static bool is_answered(const struct connection *connection) {
    switch (mode) {
    case ECHO:
        return connection->sent == connection->answered;
    case RECEIVE_ONLY:
        return connection->count_received;
    default:
        return connection->due == 0;
    }
}

static bool all_answered(void) {
    for (int i = 0; i < connection_count; i++)
        if (!is_answered(&connections[i]))
            return false;
    return true;
}

static bool wait_for_answers(void) {
    uint64_t deadline = now_ns() + 20 * SECOND;
    while (!all_answered()) {
        if (now_ns() > deadline)
            return false;
        poll_once(20);
    }
    return true;
}

/* Asks each server's connection for the number of messages that it has counted. */
static void ask_for_counts(void) {
    for (int i = 0; i < connection_count; i++) {
        struct connection *connection = &connections[i];
        while (connection->bytes_to_send > 0)
            poll_once(10);
        if (raw) {
            stream_shut_down(&connection->stream);
        } else {
            queue_control(connection, TEXT, "fin", 3);
            flush(connection);
        }
    }
}

/* Returns whether the server has counted all messages; adds them to `completed`. */
static bool add_counts(void) {
    uint64_t sent = 0;
    completed = 0;
    for (int i = 0; i < connection_count; i++) {
        completed += connections[i].answered;
        sent += connections[i].sent;
    }
    return completed == sent;
}

static void close_all(void) {
    uint64_t deadline = now_ns() + SECOND * 3 / 10;
    for (int i = 0; i < connection_count; i++) {
        if (connections[i].state == OPEN) {
            queue_close(&connections[i]);
            flush(&connections[i]);
        }
    }
    while (open_connections > 0 && now_ns() < deadline)
        poll_once(20);
}

/* ---------------------------------------------------------------------------------------------- report */

struct measurement {
    uint64_t start;
    double client_cpu, server_cpu;
    double duration; /* seconds, when it has ended */
};

static struct measurement start_measurement(void) {
    return (struct measurement){
        .start = now_ns(), .client_cpu = cpu_seconds(), .server_cpu = cpu_seconds_of(server)};
}

static void end_measurement(struct measurement *measurement) {
    measurement->duration = (double)(now_ns() - measurement->start) / (double)SECOND;
    measurement->client_cpu = cpu_seconds() - measurement->client_cpu;
    measurement->server_cpu = cpu_seconds_of(server) - measurement->server_cpu;
}

static void print_report(const struct measurement *measurement, uint64_t messages, bool clean) {
    double duration = measurement->duration;
    double rate = (double)messages / duration;
    printf("{\"mode\": \"%s\", \"deflate\": %s, \"clean\": %s, \"messages\": %lu, \"seconds\": %.3f, "
           "\"rate\": %.1f, \"megabytes\": %.2f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f, "
           "\"client_share\": %.3f, \"server_share\": %.3f, \"us\": %.4f}\n",
           MODE_NAMES[mode], deflate ? "true" : "false", clean ? "true" : "false", (unsigned long)messages,
           duration, rate, rate * (double)size / 1e6, histogram_quantile(&latencies, 0.5),
           histogram_quantile(&latencies, 0.9), histogram_quantile(&latencies, 0.99),
           (double)latencies.largest / 1e3, measurement->client_cpu / duration,
           measurement->server_cpu / duration,
           messages == 0 ? 0 : measurement->server_cpu / (double)messages * 1e6);
}

static void stay_idle(void) {
    printf("{\"mode\": \"idle\", \"connections\": %d, \"deflate\": %s}\n", open_connections,
           deflate ? "true" : "false");
    fflush(stdout);
    run_for(seconds);
}

static void print_counts(void) {
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < connection_count; i++) {
        uint64_t count = connections[i].answered;
        least = count < least ? count : least;
        most = count > most ? count : most;
    }
    printf("{\"messages\": %lu, \"least\": %lu, \"most\": %lu}\n", (unsigned long)completed,
           (unsigned long)least, (unsigned long)most);
    fflush(stdout);
}

static void count_messages(void) {
    struct epoll_event event = {.events = EPOLLIN};
    uint64_t wanted = 0;
    bool asked = false;
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    printf("{\"mode\": \"subscribe\", \"connections\": %d, \"deflate\": %s}\n", open_connections,
           deflate ? "true" : "false");
    fflush(stdout);
    for (;;) {
        poll_once(1000);
        if (input_ready) {
            char line[64];
            ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);
            if (length <= 0)
                return;
            line[length] = '\0';
            wanted = strtoull(line, NULL, 10);
            asked = true;
            input_ready = false;
        }
        if (asked && completed >= wanted) {
            print_counts();
            asked = false;
        }
    }
}

/* Goes on until so many messages have been answered, or for too long. */
static void run_until_completed(uint64_t count) {
    uint64_t deadline = now_ns() + 10 * SECOND;
    while (completed < count && now_ns() < deadline)
        poll_once(20);
}

static void measure(void) {
    if (mode != HANDSHAKES)
        begin();
    /* The server's count at the end is one of all messages. */
    if (mode != RECEIVE_ONLY) {
        run_for(warm_up);
        /* Many connections take longer than the warm-up to get their first answers. */
        if (mode == ECHO)
            run_until_completed((uint64_t)connection_count * depth);
    }
    memset(&latencies, 0, sizeof latencies);
    completed = 0;
    struct measurement measurement = start_measurement();
    run_for(seconds);
    if (mode != RECEIVE_ONLY)
        run_until_completed(1);
    bool clean = true;
    running = false;
    if (mode == RECEIVE_ONLY) {
        ask_for_counts();
        clean = wait_for_answers() && add_counts();
        end_measurement(&measurement);
    } else {
        uint64_t in_time = completed;
        end_measurement(&measurement);
        if (mode != HANDSHAKES)
            clean = wait_for_answers();
        completed = in_time;
    }
    uint64_t messages = completed;
    if (!raw && mode != HANDSHAKES)
        close_all();
    print_report(&measurement, messages, clean);
}

/* --------------------------------------------------------------------------------------------- options */

static void offer(const char *extensions) {
    if (offer_count == MAX_OFFERS || strlen(extensions) > MAX_TEXT)
        fail("too many offers, or one that is too long");
    offers[offer_count++] = extensions;
    offer_deflate = true;
}

static void parse_option(const char *option, const char *value, int *index) {
    if (strcmp(option, "--raw") == 0) {
        raw = true;
    } else if (strcmp(option, "--tls") == 0) {
        use_tls = true;
    } else if (strcmp(option, "--deflate") == 0) {
        offer("permessage-deflate; client_max_window_bits");
    } else if (strcmp(option, "--offer") == 0 && value != NULL) {
        offer(value);
        ++*index;
    } else if (strcmp(option, "--greeting") == 0 && value != NULL) {
        if (strlen(value) > MAX_TEXT)
            fail("the greeting is too long");
        greeting = value;
        ++*index;
    } else if (strcmp(option, "--source") == 0 && value != NULL) {
        source.sin_family = AF_INET;
        if (inet_pton(AF_INET, value, &source.sin_addr) != 1)
            fail("--source must be an IPv4 address");
        ++*index;
    } else if (strcmp(option, "--verify") == 0) {
        verify = true;
    } else if (strcmp(option, "--warm-up") == 0 && value != NULL) {
        warm_up = atof(value);
        ++*index;
    } else if (strcmp(option, "--server") == 0 && value != NULL) {
        server = atoi(value);
        ++*index;
    } else {
        for (enum mode other = RECEIVE_ONLY; other <= HANDSHAKES; other++) {
            if (strcmp(option + 2, MODE_NAMES[other]) == 0) {
                mode = other;
                return;
            }
        }
        fail("unknown option %s", option);
    }
}

static void parse_arguments(int argc, char **argv) {
    if (argc < 9) {
        fprintf(stderr, "usage: wsload HOST PORT PATH CONNECTIONS SIZE DEPTH SECONDS text|binary "
                        "[OPTION ...]\n"
                        "The beginning of wsload.c describes the options.\n");
        exit(2);
    }
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
        fail("HOST must be an IPv4 address");
    snprintf(host, sizeof host, "%s:%s", argv[1], argv[2]);
    path = argv[3];
    connection_count = atoi(argv[4]);
    size = strtoul(argv[5], NULL, 10);
    depth = strtoul(argv[6], NULL, 10);
    seconds = atof(argv[7]);
    data_opcode = strcmp(argv[8], "text") == 0 ? TEXT : BINARY;
    for (int i = 9; i < argc; i++)
        parse_option(argv[i], i + 1 < argc ? argv[i + 1] : NULL, &i);
    if (connection_count < 1 || depth < 1 || size < 1)
        fail("CONNECTIONS, SIZE and DEPTH must be positive");
    if (use_tls && !prepare_tls())
        fail("built without TLS");
}

/* A request asks for 4 MiB, but a broadcast for little, since broadcasts heed no backpressure. */
static uint64_t messages_in_a_request(void) {
    size_t bytes = mode == BROADCAST ? 32 * 1024 : 4 * 1024 * 1024;
    uint64_t least = mode == BROADCAST ? 1 : 16;
    uint64_t most = mode == BROADCAST ? 64 : 10000;
    uint64_t messages = bytes / size;
    return messages < least ? least : messages > most ? most : messages;
}

int main(int argc, char **argv) {
    parse_arguments(argc, argv);
    messages_per_request = messages_in_a_request();
    payload = make_text(size);
    make_template();
    connections = allocate((size_t)connection_count * sizeof *connections);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    open_all();
    if (mode == IDLE)
        stay_idle();
    else if (mode == SUBSCRIBE)
        count_messages();
    else
        measure();
    return 0;
}
