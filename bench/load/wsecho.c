/*
 * wsecho: a WebSocket server in one thread, on epoll: the peer of the measured clients.
 *
 *   wsecho PORT [--raw]      listens on 127.0.0.1; with --raw, it is an echo of bytes
 *
 * The path of the request says what a connection does:
 *
 *   /flood  The text message "COUNT SIZE" is answered with COUNT binary messages of SIZE bytes,
 *           "COUNT SIZE t" with text messages.
 *   /sink   Messages are counted; the text message "fin" is answered with the count.
 *   others  Every message comes back.
 *
 * For an echo, permessage-deflate is accepted if it is offered, with the same window in both directions.
 * Payloads are not decompressed: both directions carry the same stream, so that it fits the peer's window.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accept_key.h"
#include "frames.h"

enum { READ_SIZE = 256 * 1024, MAX_REQUEST = 16 * 1024, MAX_EVENTS = 256 };

/* Bytes between `start` and `end`. */
struct buffer {
    unsigned char *bytes;
    size_t start, end, capacity;
};

enum role { OPENING_HANDSHAKE, ECHO, FLOOD, SINK };

struct connection {
    int socket;
    enum role role;
    bool watches_output;
    bool closing; /* nothing is read any more; it ends when the output is written */
    struct buffer input, output;
    uint64_t message_count; /* of a sink */
    /* A flood: several whole frames, which are sent again and again. */
    unsigned char *flood;
    size_t flood_length, flood_frame_length, flood_offset;
    uint64_t flood_left;
};

static int epoll;
static bool raw;

/* Makes room for more bytes at the end. */
static void reserve(struct buffer *buffer, size_t length) {
    if (buffer->start == buffer->end)
        buffer->start = buffer->end = 0;
    if (buffer->capacity - buffer->end >= length)
        return;
    if (buffer->start > 0) {
        memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->end - buffer->start);
        buffer->end -= buffer->start;
        buffer->start = 0;
    }
    if (buffer->capacity - buffer->end < length) {
        buffer->capacity = (buffer->end + length) * 2;
        buffer->bytes = realloc(buffer->bytes, buffer->capacity);
        if (buffer->bytes == NULL)
            abort();
    }
}

static void append(struct buffer *buffer, const void *data, size_t length) {
    reserve(buffer, length);
    memcpy(buffer->bytes + buffer->end, data, length);
    buffer->end += length;
}

/* ---------------------------------------------------------------------------------------------- output */

static void watch_output(struct connection *connection, bool output) {
    if (output == connection->watches_output)
        return;
    struct epoll_event event = {.events = EPOLLIN | (output ? EPOLLOUT : 0), .data.ptr = connection};
    epoll_ctl(epoll, EPOLL_CTL_MOD, connection->socket, &event);
    connection->watches_output = output;
}

static void queue_frame(struct connection *connection, unsigned first_byte, const void *payload,
                        size_t length) {
    struct buffer *output = &connection->output;
    reserve(output, length + MAX_HEADER);
    output->end += write_header(output->bytes + output->end, first_byte, false, length);
    append(output, payload, length);
}

static void start_flood(struct connection *connection, const char *request) {
    unsigned long count = 0, size = 0;
    char type = 'b';
    if (sscanf(request, "%lu %lu %c", &count, &size, &type) < 2)
        return;
    size_t copies = READ_SIZE / (size + MAX_HEADER) + 1;
    free(connection->flood);
    connection->flood = malloc(copies * (size + MAX_HEADER));
    if (connection->flood == NULL)
        abort();
    size_t header = write_header(connection->flood, FIN | (type == 't' ? TEXT : BINARY), false, size);
    memset(connection->flood + header, 'x', size);
    connection->flood_frame_length = header + size;
    for (size_t i = 1; i < copies; i++)
        memcpy(connection->flood + i * connection->flood_frame_length, connection->flood,
               connection->flood_frame_length);
    connection->flood_length = copies * connection->flood_frame_length;
    connection->flood_left = count * connection->flood_frame_length;
    connection->flood_offset = 0;
}

/* Writes a part of what is queued; returns what send() returns. */
static ssize_t send_some(struct connection *connection) {
    struct buffer *output = &connection->output;
    ssize_t sent;
    if (output->start < output->end) {
        size_t queued = output->end - output->start;
        sent = send(connection->socket, output->bytes + output->start, queued, MSG_NOSIGNAL);
        if (sent > 0)
            output->start += (size_t)sent;
        return sent;
    }
    size_t length = connection->flood_length - connection->flood_offset;
    if (length > connection->flood_left)
        length = connection->flood_left;
    sent = send(connection->socket, connection->flood + connection->flood_offset, length, MSG_NOSIGNAL);
    if (sent > 0) {
        connection->flood_left -= (uint64_t)sent;
        connection->flood_offset = (connection->flood_offset + (size_t)sent) % connection->flood_frame_length;
    }
    return sent;
}

/* Returns false when the connection is to be dropped. */
static bool flush(struct connection *connection) {
    while (connection->output.start < connection->output.end || connection->flood_left > 0) {
        if (send_some(connection) < 0) {
            watch_output(connection, true);
            return errno == EAGAIN;
        }
    }
    watch_output(connection, false);
    return !connection->closing;
}

/* ------------------------------------------------------------------------------------------- handshake */

static int window_bits(const char *head, const char *parameter) {
    const char *found = strcasestr(head, parameter);
    return found == NULL ? 0 : atoi(found + strlen(parameter));
}

static void negotiate(const char *head, char *extension, size_t size) {
    int server_bits = window_bits(head, "server_max_window_bits=");
    extension[0] = '\0';
    if (strcasestr(head, "permessage-deflate") == NULL)
        return;
    if (server_bits > 0 && server_bits < 15 && strcasestr(head, "client_max_window_bits") != NULL)
        snprintf(extension, size,
                 "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=%d; "
                 "client_max_window_bits=%d\r\n",
                 server_bits, server_bits);
    else
        snprintf(extension, size, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
}

static enum role role_for(const char *head) {
    if (strncmp(head, "GET /flood", 10) == 0)
        return FLOOD;
    return strncmp(head, "GET /sink", 9) == 0 ? SINK : ECHO;
}

/* Answers the request when it is complete; returns false if it is none. */
static bool do_opening_handshake(struct connection *connection) {
    struct buffer *input = &connection->input;
    reserve(input, 1);
    input->bytes[input->end] = '\0';
    char *head = (char *)input->bytes + input->start;
    char *end = strstr(head, "\r\n\r\n");
    if (end == NULL)
        return input->end - input->start < MAX_REQUEST;
    *end = '\0';
    char *key = strcasestr(head, "\r\nSec-WebSocket-Key:");
    if (key == NULL)
        return false;
    key += strlen("\r\nSec-WebSocket-Key:");
    key += strspn(key, " ");
    if (strlen(key) < KEY_LENGTH)
        return false;
    char accept[ACCEPT_LENGTH + 1], extension[160] = "", response[512];
    accept_key(key, accept);
    connection->role = role_for(head);
    if (connection->role == ECHO)
        negotiate(head, extension, sizeof extension);
    int length = snprintf(response, sizeof response,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n%s\r\n",
                          accept, extension);
    append(&connection->output, response, (size_t)length);
    input->start = (size_t)((unsigned char *)end + 4 - input->bytes);
    return true;
}

/* ----------------------------------------------------------------------------------------------- input */

static void message_received(struct connection *connection, unsigned first_byte, const unsigned char *payload,
                             size_t length) {
    if (connection->role == ECHO) {
        queue_frame(connection, first_byte, payload, length);
        return;
    }
    char text[64];
    size_t kept = length < sizeof text - 1 ? length : sizeof text - 1;
    memcpy(text, payload, kept);
    text[kept] = '\0';
    if (connection->role == FLOOD) {
        start_flood(connection, text);
    } else if (length == 3 && strcmp(text, "fin") == 0) {
        int written = snprintf(text, sizeof text, "%lu", (unsigned long)connection->message_count);
        queue_frame(connection, FIN | TEXT, text, (size_t)written);
    } else {
        connection->message_count++;
    }
}

static void frame_received(struct connection *connection, unsigned first_byte, const unsigned char *payload,
                           size_t length) {
    switch (first_byte & 15) {
    case CLOSE:
        queue_frame(connection, FIN | CLOSE, payload, length);
        connection->closing = true;
        break;
    case PING:
        queue_frame(connection, FIN | PONG, payload, length);
        break;
    case PONG:
        break;
    default:
        message_received(connection, first_byte, payload, length);
    }
}

/* Takes all whole frames from the input; returns false if a frame is not masked. */
static bool receive_frames(struct connection *connection) {
    struct buffer *input = &connection->input;
    for (;;) {
        unsigned char *frame = input->bytes + input->start;
        size_t available = input->end - input->start;
        if (available < 2)
            return true;
        if (!(frame[1] & MASKED))
            return false;
        size_t header = header_length(frame);
        if (available < header)
            return true;
        size_t length = payload_length(frame);
        if (available < header + length) {
            reserve(input, header + length - available);
            return true;
        }
        apply_mask(frame + header, length, frame + header - 4);
        frame_received(connection, frame[0], frame + header, length);
        input->start += header + length;
    }
}

/* Returns false when the connection is to be dropped. */
static bool on_readable(struct connection *connection) {
    struct buffer *input = &connection->input;
    reserve(input, READ_SIZE);
    ssize_t length = recv(connection->socket, input->bytes + input->end, input->capacity - input->end, 0);
    if (length < 0)
        return errno == EAGAIN;
    if (length == 0)
        return false;
    input->end += (size_t)length;
    if (raw) {
        append(&connection->output, input->bytes + input->start, input->end - input->start);
        input->start = input->end;
    } else {
        if (connection->role == OPENING_HANDSHAKE && !do_opening_handshake(connection))
            return false;
        if (connection->role != OPENING_HANDSHAKE && !receive_frames(connection))
            return false;
    }
    return flush(connection);
}

/* ------------------------------------------------------------------------------------------------ loop */

static void accept_connection(int listener) {
    int yes = 1;
    int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0)
        return;
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        abort();
    connection->socket = accepted;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &event);
}

static void drop(struct connection *connection) {
    close(connection->socket);
    free(connection->input.bytes);
    free(connection->output.bytes);
    free(connection->flood);
    free(connection);
}

static void on_event(struct connection *connection, uint32_t events) {
    bool alive = true;
    if (events & EPOLLOUT)
        alive = flush(connection);
    if (alive && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        alive = on_readable(connection);
    if (!alive)
        drop(connection);
}

static int listen_on(uint16_t port) {
    int yes = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1024) < 0) {
        perror("wsecho");
        exit(1);
    }
    return listener;
}

int main(int argc, char **argv) {
    raw = argc == 3 && strcmp(argv[2], "--raw") == 0;
    if (argc != (raw ? 3 : 2)) {
        fprintf(stderr, "usage: wsecho PORT [--raw]\n");
        return 2;
    }
    int listener = listen_on((uint16_t)atoi(argv[1]));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    /* The listener is the event without a connection. */
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[MAX_EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                accept_connection(listener);
            else
                on_event(events[i].data.ptr, events[i].events);
        }
    }
}
