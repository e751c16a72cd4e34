/* The model provider of the benchmark: HTTP/1.1 with keep-alive, one thread, one epoll.

   upstream PORT      listens on 127.0.0.1 (0: a free port) and prints the port.

   POST with `"stream":true` in the body gets a stream of chat completion chunks, the way OpenAI sends them: the role and
   the first piece at once, then a piece every so often, then the finish, the usage if it was asked for, and [DONE]. Any
   other POST gets a whole chat completion at once, and a GET gets an empty object. How many pieces, how often and how
   long stands in the model's name (socket.h). A request needs a Content-Length. */
#define _GNU_SOURCE
#include "socket.h"

enum { MAX_REQUEST = 64 << 20, MAX_EVENTS = 256 };

struct connection {
    int fd, waits_to_write, is_streaming, wants_usage, closes;
    int64_t due_ns, every_ns;
    int pieces, sent, fill;
    int place; /* in the heap of streams; -1: not in it */
    struct buffer in, out;
};

static int epoll, alarm_clock;
static struct connection **heap;
static int heap_length, heap_room;

static void put(int place, struct connection *one) {
    heap[place] = one;
    one->place = place;
}

static void rise(int place, struct connection *one) {
    for (; place && heap[(place - 1) / 2]->due_ns > one->due_ns; place = (place - 1) / 2) put(place, heap[(place - 1) / 2]);
    put(place, one);
}

static void sink(int place, struct connection *one) {
    for (int child; (child = 2 * place + 1) < heap_length; place = child) {
        if (child + 1 < heap_length && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
        if (heap[child]->due_ns >= one->due_ns) break;
        put(place, heap[child]);
    }
    put(place, one);
}

static void schedule(struct connection *one) {
    if (heap_length == heap_room) {
        heap_room = heap_room ? 2 * heap_room : 64;
        heap = realloc(heap, heap_room * sizeof *heap);
        if (!heap) die("realloc");
    }
    rise(heap_length++, one);
}

static void unschedule(struct connection *one) {
    int place = one->place;
    struct connection *last = heap[--heap_length];
    one->place = -1;
    if (last == one) return;
    sink(place, last);
    rise(last->place, last);
}

static void leave(struct connection *one) {
    if (one->place >= 0) unschedule(one);
    close(one->fd);
    free(one->in.data);
    free(one->out.data);
    free(one);
}

/* Send what is to be sent. 0: the client is gone. */
static int flush(struct connection *one) {
    while (one->out.length) {
        ssize_t count = send(one->fd, one->out.data, one->out.length, 0);
        if (count < 0 && errno == EAGAIN) break;
        if (count < 0) return 0;
        drop(&one->out, count);
    }
    int waits = one->out.length > 0;
    if (waits != one->waits_to_write) watch(epoll, one->fd, EPOLLIN | (waits ? EPOLLOUT : 0), one, 0);
    one->waits_to_write = waits;
    return waits || one->is_streaming || !one->closes;
}

static void say(struct connection *one, const char *head, size_t fill, const char *tail, int is_chunk) {
    size_t count = strlen(head) + fill + strlen(tail);
    char *at = reserve(&one->out, count + 32), *begun = at;
    if (is_chunk) at += sprintf(at, "%zx\r\n", count);
    at = stpcpy(at, head);
    memset(at, FILL, fill);
    at = stpcpy(at + fill, tail);
    if (is_chunk) at = stpcpy(at, "\r\n");
    one->out.length += at - begun;
}

#define CHUNK "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"bench\","

static void say_piece(struct connection *one) {
    char head[512];
    sprintf(head, CHUNK "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%c%d:%lld;", MARK, one->sent++, (long long)now_ns());
    say(one, head, one->fill, "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n", 1);
}

static void say_end(struct connection *one) {
    char usage[512];
    say(one, CHUNK "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n", 0, "", 1);
    sprintf(usage, CHUNK "\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\n", one->sent,
            one->sent + 9);
    if (one->wants_usage) say(one, usage, 0, "", 1);
    say(one, "data: [DONE]\n\n", 0, "", 1);
    append(&one->out, "0\r\n\r\n", 5);
}

static void begin_stream(struct connection *one) {
    static const char head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
                               "transfer-encoding: chunked\r\n\r\n";
    append(&one->out, head, sizeof head - 1);
    say(one, CHUNK "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
        0, "", 1);
    one->sent = 0;
    say_piece(one);
    one->is_streaming = 1;
    one->due_ns = now_ns() + one->every_ns;
    schedule(one);
}

static void answer_whole(struct connection *one) {
    char head[512], http[256];
    const char *tail = "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
                       "\"completion_tokens\":12,\"total_tokens\":21}}";
    sprintf(head,
            "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1764000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
            "\"message\":{\"role\":\"assistant\",\"content\":\"%c0:%lld;",
            MARK, (long long)now_ns());
    sprintf(http, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n",
            strlen(head) + one->fill + strlen(tail));
    append(&one->out, http, strlen(http));
    say(one, head, one->fill, tail, 0);
}

/* Answer the request whose head and body are there. 0: the client is to go. */
static int answer(struct connection *one, const char *body, size_t length) {
    const char *model = memmem(body, length < 1024 ? length : 1024, MODEL, sizeof MODEL - 1);
    long long every_us = 10000;
    one->pieces = 100, one->fill = 0;
    if (model) sscanf(model + sizeof MODEL - 1, "%d-%lld-%d", &one->pieces, &every_us, &one->fill);
    one->every_ns = every_us * 1000;
    one->wants_usage = memmem(body, length, "\"include_usage\":true", 20) != NULL;
    if (!length) {
        append(&one->out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", 72);
    } else if (memmem(body, length, "\"stream\":true", 13)) {
        begin_stream(one);
    } else {
        answer_whole(one);
    }
    return flush(one);
}

/* Answer what is whole of what has come. 0: the client is to go. */
static int read_requests(struct connection *one) {
    while (one->in.length && !one->is_streaming) {
        char *end = memmem(one->in.data, one->in.length, "\r\n\r\n", 4);
        if (!end) return one->in.length < 65536;
        size_t head = end + 4 - one->in.data, length = 0;
        end[2] = 0;
        char *field = strcasestr(one->in.data, "\r\ncontent-length:");
        if (field) length = strtoul(field + 17, NULL, 10);
        one->closes = strcasestr(one->in.data, "\r\nconnection: close") != NULL;
        end[2] = '\r';
        if (length > MAX_REQUEST) return 0;
        if (one->in.length < head + length) {
            reserve(&one->in, head + length - one->in.length);
            return 1;
        }
        int stays = answer(one, one->in.data + head, length);
        drop(&one->in, head + length);
        if (!stays) return 0;
    }
    return 1;
}

static int read_more(struct connection *one) {
    char *room = reserve(&one->in, 16384);
    ssize_t count = recv(one->fd, room, one->in.room - one->in.length, 0);
    if (count < 0) return errno == EAGAIN;
    one->in.length += count;
    return count && read_requests(one);
}

static void say_what_is_due(void) {
    int64_t now = now_ns();
    while (heap_length && heap[0]->due_ns <= now) {
        struct connection *one = heap[0];
        if (one->sent < one->pieces) {
            say_piece(one);
            one->due_ns += one->every_ns;
            sink(0, one);
        } else {
            say_end(one);
            one->is_streaming = 0;
            unschedule(one);
        }
        if (!flush(one) || (!one->is_streaming && !read_requests(one))) leave(one);
    }
}

static void accept_all(int listener) {
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        struct connection *one = calloc(1, sizeof *one);
        if (!one) die("calloc");
        one->fd = fd;
        one->place = -1;
        tune(fd);
        watch(epoll, fd, EPOLLIN, one, 1);
    }
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    settle_in();
    epoll = epoll_create1(0);
    alarm_clock = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 0);
    watch(epoll, listener, EPOLLIN, &listener, 1);
    watch(epoll, alarm_clock, EPOLLIN, &alarm_clock, 1);
    for (int64_t alarm_ns = 0;;) {
        int64_t next_ns = heap_length ? heap[0]->due_ns : 0;
        if (next_ns != alarm_ns) set_alarm(alarm_clock, alarm_ns = next_ns);
        struct epoll_event events[MAX_EVENTS];
        int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            void *who = events[i].data.ptr;
            if (who == &listener) {
                accept_all(listener);
            } else if (who == &alarm_clock) {
                alarm_ns = 0;
                silence(alarm_clock);
            } else {
                struct connection *one = who;
                int stays = !(events[i].events & EPOLLOUT) || flush(one);
                if (stays && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) stays = read_more(one);
                if (!stays) leave(one);
            }
        }
        say_what_is_due();
    }
}
