/* A stream of bytes that does not block: a TCP socket, or TLS on it. */
#ifndef STREAM_H
#define STREAM_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct stream {
    int socket;
    void *tls; /* SSL *, or NULL without TLS */
};

enum stream_progress { STREAM_READY, STREAM_WANTS_INPUT, STREAM_WANTS_OUTPUT, STREAM_FAILED };

/* Tells whether this program was built with TLS, and prepares it; certificates are not verified. */
bool prepare_tls(void);

/* Begins to connect, from an address or from any if it is NULL; returns false with errno set. */
bool stream_connect(struct stream *stream, const struct sockaddr_in *address,
                    const struct sockaddr_in *source, bool tls);

/* Does the TLS handshake, if there is one, after the socket has connected; call it until it is ready. */
enum stream_progress stream_handshake(struct stream *stream);

/* Return the number of bytes; 0 at the end of the stream (read only); -1 with errno set, to EAGAIN if the
 * socket is not ready. */
ssize_t stream_read(struct stream *stream, void *buffer, size_t size);
ssize_t stream_write(struct stream *stream, const void *data, size_t size);

/* Whether bytes can be read that the socket does not announce any more. */
bool stream_has_pending(const struct stream *stream);

/* Ends the sending half. */
void stream_shut_down(struct stream *stream);

void stream_close(struct stream *stream);

#endif
