#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

bool stream_connect(struct stream *stream, const struct sockaddr_in *address,
                    const struct sockaddr_in *source, bool tls) {
    int yes = 1;
    *stream = (struct stream){.socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (stream->socket < 0)
        return false;
    setsockopt(stream->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    stream->tls = tls ? stream : NULL; /* replaced by the first stream_handshake */
    if (source != NULL) {
        /* The port is chosen when the connection is made: then each pair of addresses has all ports. */
        setsockopt(stream->socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        if (bind(stream->socket, (const struct sockaddr *)source, sizeof *source) != 0)
            return false;
    }
    int result = connect(stream->socket, (const struct sockaddr *)address, sizeof *address);
    return result == 0 || errno == EINPROGRESS;
}

#ifdef WITH_TLS

#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *context;

bool prepare_tls(void) {
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        return false;
    /* The rest of a write may be at another address, since frames are written from a template. */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return true;
}

static enum stream_progress progress_of(SSL *tls, int result) {
    switch (SSL_get_error(tls, result)) {
    case SSL_ERROR_WANT_READ:
        return STREAM_WANTS_INPUT;
    case SSL_ERROR_WANT_WRITE:
        return STREAM_WANTS_OUTPUT;
    default:
        return STREAM_FAILED;
    }
}

enum stream_progress stream_handshake(struct stream *stream) {
    if (stream->tls == NULL)
        return STREAM_READY;
    if (stream->tls == stream) {
        stream->tls = SSL_new(context);
        if (stream->tls == NULL || SSL_set_fd(stream->tls, stream->socket) != 1)
            return STREAM_FAILED;
    }
    int result = SSL_connect(stream->tls);
    return result == 1 ? STREAM_READY : progress_of(stream->tls, result);
}

/* Turns the result of SSL_read or SSL_write into that of read or write. */
static ssize_t result_of(SSL *tls, int result) {
    if (result > 0)
        return result;
    int error = SSL_get_error(tls, result);
    ERR_clear_error();
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return -1;
}

static int clamp(size_t size) { return size > INT_MAX ? INT_MAX : (int)size; }

ssize_t stream_read(struct stream *stream, void *buffer, size_t size) {
    if (stream->tls != NULL)
        return result_of(stream->tls, SSL_read(stream->tls, buffer, clamp(size)));
    return recv(stream->socket, buffer, size, 0);
}

ssize_t stream_write(struct stream *stream, const void *data, size_t size) {
    if (stream->tls != NULL)
        return result_of(stream->tls, SSL_write(stream->tls, data, clamp(size)));
    return send(stream->socket, data, size, MSG_NOSIGNAL);
}

bool stream_has_pending(const struct stream *stream) {
    return stream->tls != NULL && SSL_pending(stream->tls) > 0;
}

static void free_tls(struct stream *stream) {
    if (stream->tls != NULL && stream->tls != stream)
        SSL_free(stream->tls);
}

#else

bool prepare_tls(void) { return false; }

enum stream_progress stream_handshake(struct stream *stream) {
    (void)stream;
    return STREAM_READY;
}

ssize_t stream_read(struct stream *stream, void *buffer, size_t size) {
    return recv(stream->socket, buffer, size, 0);
}

ssize_t stream_write(struct stream *stream, const void *data, size_t size) {
    return send(stream->socket, data, size, MSG_NOSIGNAL);
}

bool stream_has_pending(const struct stream *stream) {
    (void)stream;
    return false;
}

static void free_tls(struct stream *stream) { (void)stream; }

#endif

void stream_shut_down(struct stream *stream) { shutdown(stream->socket, SHUT_WR); }

void stream_close(struct stream *stream) {
    free_tls(stream);
    close(stream->socket);
    stream->socket = -1;
    stream->tls = NULL;
}
