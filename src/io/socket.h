#ifndef POSTERN_IO_SOCKET_H
#define POSTERN_IO_SOCKET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"

/* Sockets. Every descriptor made here is non-blocking (unless told) and closed by exec. */

struct socket_address {
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage storage;
    };
};

/* Numeric IPv4 or IPv6 only ("127.0.0.1", "::1"); false for anything else. */
bool socket_address_parse(struct str ip, uint16_t port, struct socket_address *ret_address);

/* From 4 or 16 bytes in network order (as ipc.table's reverse_name and the PROXY protocol). */
bool socket_address_from_bytes(struct str bytes, uint16_t port, struct socket_address *ret_address);

/* 4 or 16 bytes, network order; IPv4-mapped IPv6 counts as IPv4. Empty for Unix sockets. */
struct str socket_address_bytes(const struct socket_address *a);
uint16_t socket_address_port(const struct socket_address *a);

/* "192.0.2.1" or "2001:db8::1"; "local" for Unix sockets. */
void socket_address_print(const struct socket_address *a, struct buf *out);

/*
 * Listens on TCP. An IPv6 socket takes no IPv4. On failure the diag says which address and why.
 */
enum status_code socket_listen(const struct socket_address *a, int *ret_fd,
                               struct diag *diag) MUST_USE;

/*
 * Listens on a Unix socket; replaces one that nobody listens on any more. STATUS_EXISTS: somebody
 * does, or what is there is no socket.
 */
enum status_code socket_listen_unix(const char *path, mode_t mode, int *ret_fd,
                                    struct diag *diag) MUST_USE;

/* Connects to a Unix socket, blocking; the descriptor blocks. */
enum status_code socket_connect_unix(const char *path, int *ret_fd, struct diag *diag) MUST_USE;

/* STATUS_BUSY: nobody waits; STATUS_NO_MEMORY: out of descriptors or memory. */
enum status_code socket_accept(int listener, int *ret_fd, struct socket_address *ret_peer) MUST_USE;

/* Who is at the other end of a Unix socket, as the kernel says. */
bool socket_peer_uid(int fd, uid_t *ret_uid);

/* The process at the other end of a connection over a Unix socket: who listened there. */
bool socket_peer_pid(int fd, pid_t *ret_pid);

/* Where the client connected to. */
bool socket_local_address(int fd, struct socket_address *ret_address);

/* Two ends of a Unix stream. */
enum status_code socket_pair(int ret_fds[2]) MUST_USE;

void socket_set_blocking(int fd, bool blocking);
void socket_set_no_delay(int fd);

/*
 * True where the peer's kernel has acknowledged all we wrote: then what the peer sends from now on
 * was sent after it had our bytes (promise 3).
 */
bool socket_peer_acked(int fd);

#endif
