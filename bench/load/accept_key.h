/* The server's answer to Sec-WebSocket-Key: RFC 6455 section 4.2.2, item 5.4. */
#ifndef ACCEPT_KEY_H
#define ACCEPT_KEY_H

enum { KEY_LENGTH = 24, ACCEPT_LENGTH = 28 };

/* Writes Sec-WebSocket-Accept and a NUL. */
void accept_key(const char *key, char accept[ACCEPT_LENGTH + 1]);

#endif
