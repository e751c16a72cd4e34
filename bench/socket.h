/* What the upstream and the load client share: the clock, the mark in every piece of an answer, growing buffers. */
#ifndef TRUNKLINE_BENCH_SOCKET_H
#define TRUNKLINE_BENCH_SOCKET_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Every piece of text that the upstream sends is `@NUMBER:NANOSECONDS;xxx...`: which piece it is, when it was sent (on
   the clock of this machine, which both programs read), and as many x as were asked for. No other @ is in an answer. */
#define MARK '@'
#define FILL 'x'

/* The model's name carries what the answer shall be: `bench-PIECES-EVERY_US-FILL`. */
#define MODEL "bench-"

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

struct buffer {
    char *data;
    size_t length, room;
};

/* Make room for so many more bytes. */
static inline char *reserve(struct buffer *buffer, size_t more) {
    if (buffer->length + more > buffer->room) {
        size_t room = buffer->room ? buffer->room : 1024;
        while (room < buffer->length + more) room *= 2;
        buffer->data = realloc(buffer->data, room);
        if (!buffer->data) die("realloc");
        buffer->room = room;
    }
    return buffer->data + buffer->length;
}

static inline void append(struct buffer *buffer, const char *bytes, size_t count) {
    memcpy(reserve(buffer, count), bytes, count);
    buffer->length += count;
}

/* Remove from the front. */
static inline void drop(struct buffer *buffer, size_t count) {
    buffer->length -= count;
    memmove(buffer->data, buffer->data + count, buffer->length);
}

static inline void tune(int fd) {
    int one = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline void watch(int epoll, int fd, uint32_t events, void *who, int is_new) {
    struct epoll_event event = {.events = events, .data.ptr = who};
    if (epoll_ctl(epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event)) die("epoll_ctl");
}

/* Ring at this moment; 0: never. */
static inline void set_alarm(int timer, int64_t at_ns) {
    struct itimerspec when = {.it_value = {at_ns / 1000000000, at_ns % 1000000000}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* It has rung: stop ringing. */
static inline void silence(int timer) {
    uint64_t times;
    if (read(timer, &times, sizeof times) < 0 && errno != EAGAIN) die("timerfd");
}

/* End with whoever started this program, and have as many descriptors as the system lets it have. */
static inline void settle_in(void) {
    struct rlimit limit;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

#endif
