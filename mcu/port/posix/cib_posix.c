/* cib_posix.c: the POSIX port: a non-blocking TCP socket, a clock that never goes back, the kernel's random bytes. */
#define _POSIX_C_SOURCE 200809L
#ifdef __APPLE__
#define _DARWIN_C_SOURCE /* getentropy, SO_NOSIGPIPE */
#else
#define _DEFAULT_SOURCE /* getentropy */
#endif
#include "cib_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE instead */
#endif

/* Most that getentropy gives at once. */
#define MAX_ENTROPY_BYTES 256u
/* "4294967295\n" and an end mark. */
#define COUNT_ROOM 12
#define OWNER_ONLY 0600

/* ------------------------------------------------------------------ the four callbacks */

static bool is_for_later(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static int posix_send(void *user, const uint8_t *bytes, size_t n)
{
    const cib_posix *net = user;
    ssize_t took = send(net->fd, bytes, n, MSG_NOSIGNAL);
    if (took >= 0)
        return (int)took;
    if (!is_for_later(errno))
        return -1;
    /* The library tries again for CIB_SEND_MS: no reason to do so a million times. */
    struct pollfd line = {.fd = net->fd, .events = POLLOUT, .revents = 0};
    (void)poll(&line, 1, 10);
    return 0;
}

static int posix_recv(void *user, uint8_t *bytes, size_t room)
{
    const cib_posix *net = user;
    ssize_t got = recv(net->fd, bytes, room, 0);
    if (got > 0)
        return (int)got;
    /* To the library 0 is "none now"; to recv it is the end. */
    return got < 0 && is_for_later(errno) ? 0 : -1;
}

static uint32_t posix_ms(void *user)
{
    (void)user;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

static int posix_random(void *user, uint8_t *bytes, size_t n)
{
    (void)user;
    while (n > 0) {
        size_t some = n < MAX_ENTROPY_BYTES ? n : MAX_ENTROPY_BYTES;
        if (getentropy(bytes, some) != 0)
            return -1;
        bytes += some;
        n -= some;
    }
    return 0;
}

cib_port cib_posix_port(cib_posix *net)
{
    net->fd = -1;
    cib_port port = {.user = net, .send = posix_send, .recv = posix_recv, .ms = posix_ms, .random = posix_random};
    return port;
}

/* ------------------------------------------------------------------ the connection */

/* Waits for a connect that is under way; errors of connect itself come as a socket option (connect(2), EINPROGRESS). */
static bool comes_about(int fd, int timeout_ms)
{
    struct pollfd line = {.fd = fd, .events = POLLOUT, .revents = 0};
    if (poll(&line, 1, timeout_ms) <= 0)
        return false;
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

static int open_socket(const struct addrinfo *to, int timeout_ms)
{
    int fd = socket(to->ai_family, to->ai_socktype, to->ai_protocol);
    if (fd < 0)
        return -1;
    int yes = 1;
    /* Records are whole when they are sent: waiting for more to go with them only costs time. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
#ifdef SO_NOSIGPIPE
    (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &yes, sizeof yes);
#endif
    bool open = fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
    open = open && (connect(fd, to->ai_addr, to->ai_addrlen) == 0 || (errno == EINPROGRESS && comes_about(fd, timeout_ms)));
    if (open)
        return fd;
    (void)close(fd);
    return -1;
}

int cib_posix_connect(cib_posix *net, const char *host, const char *port, int timeout_ms)
{
    cib_posix_close(net);
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    struct addrinfo *first = NULL;
    if (getaddrinfo(host, port, &hints, &first) != 0)
        return CIB_ELINE;
    for (const struct addrinfo *to = first; to != NULL && net->fd < 0; to = to->ai_next)
        net->fd = open_socket(to, timeout_ms);
    freeaddrinfo(first);
    return net->fd < 0 ? CIB_ELINE : CIB_OK;
}

void cib_posix_close(cib_posix *net)
{
    if (net->fd >= 0)
        (void)close(net->fd);
    net->fd = -1;
}

int cib_posix_wait(const cib_posix *net, int other, int timeout_ms)
{
    /* poll passes over negative files. */
    struct pollfd files[2] = {{.fd = net->fd, .events = POLLIN, .revents = 0}, {.fd = other, .events = POLLIN, .revents = 0}};
    if (poll(files, 2, timeout_ms) <= 0)
        return 0;
    return (files[0].revents != 0 ? CIB_POSIX_LINE : 0) | (files[1].revents != 0 ? CIB_POSIX_OTHER : 0);
}

/* ------------------------------------------------------------------ the boot counter */

/* 0 and the count; -1 where the file says no number, or cannot be read. */
static int read_count(const char *name, uint32_t *count)
{
    *count = 0;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    char text[COUNT_ROOM];
    ssize_t n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (n <= 0)
        return -1;
    text[n] = 0;
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\n' || text[0] < '0' || text[0] > '9' || value >= UINT32_MAX)
        return -1;
    *count = (uint32_t)value;
    return 0;
}

/* All of it, and on the disk. */
static bool write_synced(const char *name, const char *text, size_t n)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, OWNER_ONLY);
    if (fd < 0)
        return false;
    bool good = write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
    return close(fd) == 0 && good;
}

/* A rename is on the disk when its folder is. */
static bool sync_folder(const char *name)
{
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s", name) >= (int)sizeof copy)
        return false;
    int fd = open(dirname(copy), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool good = fsync(fd) == 0;
    (void)close(fd);
    return good;
}

int cib_posix_boot(const char *file, uint32_t *boot)
{
    char beside[PATH_MAX];
    char text[COUNT_ROOM];
    uint32_t count = 0;
    if (snprintf(beside, sizeof beside, "%s.new", file) >= (int)sizeof beside)
        return CIB_ELINE;
    if (read_count(file, &count) != 0)
        return CIB_ELINE;
    int n = snprintf(text, sizeof text, "%lu\n", (unsigned long)count + 1);
    if (!write_synced(beside, text, (size_t)n) || rename(beside, file) != 0 || !sync_folder(file))
        return CIB_ELINE;
    *boot = count + 1;
    return CIB_OK;
}
