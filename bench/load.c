/* The clients of the benchmark: one thread, one epoll, keep-alive; every answer is checked to be whole.

   load --port=8080 --connections=64 --seconds-ms=2000 [--stream=1] [--pieces=100] [--every-us=10000] ...  (see `options`)

   And --model (what stands before the model's name), --path, --key, and --header='Name: value' as often as needed.

   Each connection asks again as soon as it has its answer, until the time or the number of requests is over; then what
   is under way is waited for. With --rate, requests are due at that many a second whatever becomes of them, and their
   times count from when they were due. Connections begin spread over `spread-us`.

   First a few requests a connection warm the server up. Then the program prints "ready" and waits for a line on its
   standard input, so that whoever started it can read the clocks of the server; then it runs, and prints one JSON object.

   Checked: status 200, the message ends as HTTP says, all pieces, in order, each as long as asked for, the finish, and
   for a stream [DONE]. */
#define _GNU_SOURCE
#include "socket.h"

enum { TAIL = 1024, MAX_HEAD = 16384, MAX_EVENTS = 256, READ = 65536 };

static struct {
    const char *name;
    int64_t value;
} options[] = {
    {"port", 0},
    {"connections", 1},
    {"seconds-ms", 0},   /* how long new requests are made, in milliseconds; 0: until `total` is reached */
    {"total", 1LL << 40}, /* how many requests at most */
    {"rate", 0},         /* requests a second; 0: as fast as they are answered */
    {"warm", 1},         /* requests of each connection before it counts */
    {"stream", 0},
    {"pieces", 100},
    {"every-us", 10000},
    {"warm-every-us", 1000},
    {"fill", 0},         /* how many bytes each piece has besides its mark */
    {"body-bytes", 1024},
    {"spread-us", 10000},
    {"patience-ms", 30000}, /* how long the last answers are waited for, and a server that says nothing at all */
};
enum { PORT, CONNECTIONS, SECONDS_MS, TOTAL, RATE, WARM, STREAM, PIECES, EVERY_US, WARM_EVERY_US, FILL_BYTES, BODY_BYTES, SPREAD_US, PATIENCE_MS };
#define OPTION(which) (options[which].value)

enum state { IDLE, HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

struct connection {
    int fd, keeps, is_chunked;
    enum state state;
    int64_t due_ns, sent_ns;
    int64_t left; /* of the body or the chunk; -1: until the connection ends */
    struct buffer head;
    size_t unsent;
    /* what was seen of the answer: */
    int pieces, fill, is_first_seen;
    enum { TEXT, NUMBER, NANOSECONDS, FILLING } mark;
    int64_t number;
    char tail[TAIL];
    int tail_length;
};

struct values {
    double *all;
    size_t count, room;
};

static int epoll;
static char *request[2]; /* when warming up, and when it counts */
static struct buffer headers; /* more than every request has */
static size_t request_length[2];
static int is_counted;
static struct connection **idle;
static int idle_count, under_way;
static int64_t begun_ns, heard_ns, issued, requests, pieces, bytes, errors, reconnects;
static char first_error[256];
static struct values first_us, answer_us, added_us;

static void note(struct values *values, double value) {
    if (!is_counted) return;
    if (values->count == values->room) {
        values->room = values->room ? 2 * values->room : 4096;
        values->all = realloc(values->all, values->room * sizeof *values->all);
        if (!values->all) die("realloc");
    }
    values->all[values->count++] = value;
}

static void open_connection(struct connection *one) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(OPTION(PORT)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    one->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (one->fd < 0 || connect(one->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    tune(one->fd);
    watch(epoll, one->fd, EPOLLIN, one, 1);
}

static void reopen(struct connection *one) {
    close(one->fd);
    one->head.length = 0;
    reconnects++;
    open_connection(one);
}

static void finish(struct connection *one, const char *error) {
    double now = now_ns();
    one->state = IDLE;
    idle[idle_count++] = one;
    under_way--;
    requests += is_counted;
    if (is_counted) pieces += one->pieces;
    note(&answer_us, (now - one->due_ns) / 1000);
    if (error) {
        if (!errors++) snprintf(first_error, sizeof first_error, "%s", error);
    }
    if (error || !one->keeps) reopen(one);
}

static void push(struct connection *one) {
    const char *bytes = request[is_counted];
    size_t length = request_length[is_counted];
    ssize_t count = send(one->fd, bytes + length - one->unsent, one->unsent, 0);
    if (count < 0 && errno != EAGAIN) {
        finish(one, "the connection was refused or reset while sending");
        return;
    }
    if (count > 0) one->unsent -= count;
    watch(epoll, one->fd, EPOLLIN | (one->unsent ? EPOLLOUT : 0), one, 0);
}

static void ask(struct connection *one, int64_t due_ns) {
    one->state = HEAD;
    one->head.length = 0;
    one->keeps = 1;
    one->pieces = one->fill = one->is_first_seen = one->tail_length = 0;
    one->mark = TEXT;
    one->sent_ns = now_ns();
    one->due_ns = OPTION(RATE) && is_counted ? due_ns : one->sent_ns;
    one->unsent = request_length[is_counted];
    if (!under_way++) heard_ns = one->sent_ns;
    ssize_t count = send(one->fd, request[is_counted], one->unsent, 0);
    if (count < 0 && errno != EAGAIN) { /* it was closed while it was idle, which a server may do */
        reopen(one);
        count = send(one->fd, request[is_counted], one->unsent, 0);
    }
    if (count > 0) one->unsent -= count;
    if (one->unsent) watch(epoll, one->fd, EPOLLIN | EPOLLOUT, one, 0);
}

/* Look for the marks. NULL, or what is wrong. */
static const char *look(struct connection *one, const char *data, size_t count, int64_t now) {
    for (const char *at = data, *end = data + count; at < end; at++) {
        switch (one->mark) {
        case TEXT:
            at = memchr(at, MARK, end - at);
            if (!at) return NULL;
            one->mark = NUMBER, one->number = 0;
            break;
        case NUMBER:
            if (*at >= '0' && *at <= '9') {
                one->number = one->number * 10 + *at - '0';
            } else {
                if (*at != ':' || one->number != one->pieces) return "a piece is missing, doubled or out of order";
                one->mark = NANOSECONDS, one->number = 0;
            }
            break;
        case NANOSECONDS:
            if (*at >= '0' && *at <= '9') {
                one->number = one->number * 10 + *at - '0';
            } else {
                if (*at != ';') return "a mark is broken";
                one->pieces++;
                one->mark = FILLING, one->fill = 0;
                note(&added_us, (now - one->number) / 1e3);
                if (!one->is_first_seen) note(&first_us, (now - one->due_ns) / 1e3);
                one->is_first_seen = 1;
            }
            break;
        case FILLING:
            if (*at == FILL) {
                one->fill++;
            } else {
                if (one->fill != OPTION(FILL_BYTES)) return "a piece has another length";
                one->mark = TEXT;
            }
        }
    }
    return NULL;
}

static const char *take(struct connection *one, const char *data, size_t count, int64_t now) {
    if (is_counted) bytes += count;
    if (count >= TAIL) {
        memcpy(one->tail, data + count - TAIL, one->tail_length = TAIL);
    } else {
        int keep = one->tail_length + (int)count > TAIL ? TAIL - (int)count : one->tail_length;
        memmove(one->tail, one->tail + one->tail_length - keep, keep);
        memcpy(one->tail + keep, data, count);
        one->tail_length = keep + (int)count;
    }
    return look(one, data, count, now);
}

/* What is wrong with the answer that has ended. */
static const char *verdict(struct connection *one) {
    int expected = OPTION(STREAM) ? (int)OPTION(PIECES) : 1;
    if (one->pieces != expected) return "pieces are missing at the end";
    if (!memmem(one->tail, one->tail_length, "\"stop\"", 6)) return "the finish is missing";
    if (OPTION(STREAM) && !memmem(one->tail, one->tail_length, "[DONE]", 6)) return "[DONE] is missing";
    return NULL;
}

/* Read the head that ends in `head.data`, and say how the body is measured. NULL, or what is wrong. */
static const char *begin_body(struct connection *one, size_t length) {
    static char wrong[128];
    char *head = one->head.data, *field;
    head[length - 2] = 0;
    if (strncmp(head, "HTTP/1.1 200", 12)) {
        snprintf(wrong, sizeof wrong, "the answer is %.*s", (int)strcspn(head, "\r"), head);
        for (char *at = wrong; *at; at++) *at = *at < ' ' || *at > '~' || *at == '"' || *at == '\\' ? ' ' : *at;
        return wrong;
    }
    one->keeps = !strcasestr(head, "\r\nconnection: close");
    if (strcasestr(head, "\r\ntransfer-encoding: chunked")) {
        one->state = CHUNK_SIZE;
    } else {
        field = strcasestr(head, "\r\ncontent-length:");
        one->left = field ? strtoll(field + 17, NULL, 10) : -1;
        one->state = BODY;
    }
    drop(&one->head, length);
    return NULL;
}

/* One line of the chunked encoding, once it is whole. Gives its length, 0 if it is not. */
static size_t line_of(struct connection *one) {
    char *end = one->head.length ? memmem(one->head.data, one->head.length, "\r\n", 2) : NULL;
    return end ? end + 2 - one->head.data : 0;
}

/* Go on with what has been read into `head`. 1: more is needed; 0: the answer has ended, well or not. */
static int digest(struct connection *one, int64_t now) {
    const char *wrong = NULL;
    size_t line;
    for (;;) {
        struct buffer *in = &one->head;
        switch (one->state) {
        case IDLE:
            if (!errors++) strcpy(first_error, "bytes came that nobody asked for");
            reopen(one);
            return 0;
        case HEAD: {
            char *end = in->length ? memmem(in->data, in->length, "\r\n\r\n", 4) : NULL;
            if (!end && in->length < MAX_HEAD) return 1;
            wrong = end ? begin_body(one, end + 4 - in->data) : "the head is too long";
            break;
        }
        case BODY:
        case CHUNK_DATA: {
            size_t count = one->left < 0 || (int64_t)in->length < one->left ? in->length : (size_t)one->left;
            if (!count && one->left) return 1;
            wrong = take(one, in->data, count, now);
            drop(in, count);
            if (one->left > 0) one->left -= count;
            if (!wrong && !one->left) {
                if (one->state == BODY) {
                    finish(one, verdict(one));
                    return 0;
                }
                one->state = CHUNK_END;
            }
            break;
        }
        case CHUNK_SIZE:
            if (!(line = line_of(one))) return 1;
            one->left = strtoll(in->data, NULL, 16);
            one->state = one->left ? CHUNK_DATA : TRAILER;
            drop(in, line);
            break;
        case CHUNK_END:
            if (in->length < 2) return 1;
            if (memcmp(in->data, "\r\n", 2)) wrong = "a chunk is longer than it says";
            drop(in, 2);
            one->state = CHUNK_SIZE;
            break;
        case TRAILER:
            if (!(line = line_of(one))) return 1;
            drop(in, line);
            if (line == 2) {
                finish(one, verdict(one));
                return 0;
            }
        }
        if (wrong) {
            finish(one, wrong);
            return 0;
        }
    }
}

static void read_answer(struct connection *one) {
    char *room = reserve(&one->head, READ);
    ssize_t count = recv(one->fd, room, READ, 0);
    int64_t now = now_ns();
    if (count < 0 && errno == EAGAIN) return;
    if (count > 0) {
        heard_ns = now;
        one->head.length += count;
        digest(one, now);
    } else if (one->state == IDLE) {
        reopen(one);
    } else if (one->state == BODY && one->left < 0) {
        one->keeps = 0;
        finish(one, verdict(one));
    } else {
        finish(one, "the connection ended in the middle of the answer");
    }
}

static int64_t due(int64_t which) {
    if (is_counted && OPTION(RATE)) return begun_ns + which * 1000000000 / OPTION(RATE);
    if (which < OPTION(CONNECTIONS)) return begun_ns + which * OPTION(SPREAD_US) * 1000 / OPTION(CONNECTIONS);
    return begun_ns;
}

/* Make requests until so many are made or the time is over (0: no such bound), and wait for the answers. Once nothing has
   been heard for as long as the last answers are waited for, this ends, too; what is under way then never ends. */
static void run(int64_t total, int64_t duration_ns) {
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(epoll, timer, EPOLLIN, NULL, 1);
    begun_ns = now_ns();
    issued = 0;
    int64_t end_ns = duration_ns ? begun_ns + duration_ns : INT64_MAX, last_ns = 0, patience_ns = OPTION(PATIENCE_MS) * 1000000;
    if (is_counted && OPTION(RATE) && duration_ns) { /* what is due is asked for, however late: nobody is let off */
        int64_t wanted = OPTION(RATE) * duration_ns / 1000000000;
        if (wanted < total) total = wanted;
        last_ns = end_ns + patience_ns;
        end_ns = INT64_MAX;
    }
    for (;;) {
        int64_t now = now_ns();
        while (idle_count && issued < total && now < end_ns && due(issued) <= now) {
            ask(idle[--idle_count], due(issued));
            issued++;
        }
        int is_over = issued >= total || now >= end_ns;
        if (is_over && !under_way) break;
        if (is_over && !last_ns) last_ns = now + patience_ns;
        int64_t give_up_ns = last_ns ? last_ns : under_way ? heard_ns + patience_ns : INT64_MAX;
        if (now > give_up_ns) {
            errors += under_way;
            if (!*first_error) strcpy(first_error, "an answer did not end");
            break;
        }
        int64_t next_ns = is_over ? give_up_ns : idle_count ? due(issued) : end_ns;
        if (next_ns > end_ns && !is_over) next_ns = end_ns;
        if (next_ns > give_up_ns) next_ns = give_up_ns;
        set_alarm(timer, next_ns == INT64_MAX ? 0 : next_ns);
        struct epoll_event events[MAX_EVENTS];
        int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *one = events[i].data.ptr;
            if (!one) {
                silence(timer);
                continue;
            }
            if (events[i].events & EPOLLOUT && one->unsent) push(one);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_answer(one);
        }
    }
    close(timer);
}

static void write_request(int which, int64_t every_us, const char *model, const char *path, const char *key) {
    static const char prose[] = "The quick brown fox jumps over the lazy dog, and what it says does not matter here. ";
    struct buffer body = {NULL, 0, 0}, whole = {NULL, 0, 0};
    char text[2048];
    if (strlen(model) + strlen(path) + strlen(key) > 1024) die("--model, --path or --key is too long");
    int count = snprintf(text, sizeof text, "{\"model\":\"%s" MODEL "%lld-%lld-%lld\",%s\"messages\":[{\"role\":\"user\",\"content\":\"", model,
                         (long long)OPTION(PIECES), (long long)every_us, (long long)OPTION(FILL_BYTES),
                         OPTION(STREAM) ? "\"stream\":true," : "");
    append(&body, text, count);
    for (int turn = 1; (int64_t)body.length + 90 < OPTION(BODY_BYTES); turn++) {
        for (int i = 0; i < 12 && (int64_t)body.length + 90 < OPTION(BODY_BYTES); i++) append(&body, prose, sizeof prose - 1);
        const char *next = turn % 2 ? "\"},{\"role\":\"assistant\",\"content\":\"" : "\"},{\"role\":\"user\",\"content\":\"";
        if ((int64_t)body.length + 200 < OPTION(BODY_BYTES)) append(&body, next, strlen(next));
    }
    append(&body, "\"}]}", 4);
    count = snprintf(text, sizeof text,
                     "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%lld\r\nAuthorization: Bearer %s\r\nAccept: */*\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                     path, (long long)OPTION(PORT), key, body.length);
    append(&whole, text, count);
    append(&whole, headers.data ? headers.data : "", headers.length);
    append(&whole, "\r\n", 2);
    append(&whole, body.data, body.length);
    request[which] = whole.data;
    request_length[which] = whole.length;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_values(const char *name, struct values *values) {
    double sum = 0;
    size_t n = values->count;
    qsort(values->all, n, sizeof *values->all, ascending);
    for (size_t i = 0; i < n; i++) sum += values->all[i];
    if (!n) {
        printf(", \"%s\": null", name);
        return;
    }
    printf(", \"%s\": {\"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f}", name, sum / n, values->all[n / 2],
           values->all[n * 9 / 10], values->all[n * 99 / 100], values->all[n - 1]);
}

int main(int argc, char **argv) {
    const char *model = "", *path = "/v1/chat/completions", *key = "bench";
    settle_in();
    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        size_t which = 0, count = sizeof options / sizeof *options;
        if (strncmp(argv[i], "--", 2) || !equals) die(argv[i]);
        *equals = 0;
        if (!strcmp(argv[i], "--model")) model = equals + 1;
        else if (!strcmp(argv[i], "--path")) path = equals + 1;
        else if (!strcmp(argv[i], "--key")) key = equals + 1;
        else if (!strcmp(argv[i], "--header")) {
            append(&headers, equals + 1, strlen(equals + 1));
            append(&headers, "\r\n", 2);
        } else {
            while (which < count && strcmp(options[which].name, argv[i] + 2)) which++;
            if (which == count) die(argv[i]);
            options[which].value = strtoll(equals + 1, NULL, 10);
        }
    }
    write_request(0, OPTION(WARM_EVERY_US), model, path, key);
    write_request(1, OPTION(EVERY_US), model, path, key);
    epoll = epoll_create1(0);
    struct connection *all = calloc(OPTION(CONNECTIONS), sizeof *all);
    idle = calloc(OPTION(CONNECTIONS), sizeof *idle);
    if (!all || !idle) die("calloc");
    for (int i = 0; i < OPTION(CONNECTIONS); i++) {
        open_connection(&all[i]);
        idle[idle_count++] = &all[i];
    }
    if (OPTION(WARM)) run(OPTION(WARM) * OPTION(CONNECTIONS), 0);
    printf("ready\n");
    fflush(stdout);
    char line[16];
    if (!fgets(line, sizeof line, stdin)) return 1;
    is_counted = 1;
    reconnects = 0;
    if (!under_way) run(OPTION(TOTAL), OPTION(SECONDS_MS) * 1000000);
    printf("{\"requests\": %lld, \"pieces\": %lld, \"bytes\": %lld, \"errors\": %lld, \"reconnects\": %lld, \"first_error\": \"%s\", \"seconds\": %.3f",
           (long long)requests, (long long)pieces, (long long)bytes, (long long)errors, (long long)reconnects, first_error,
           (now_ns() - begun_ns) / 1e9);
    print_values("first_us", &first_us);
    print_values("answer_us", &answer_us);
    print_values("added_us", &added_us);
    printf("}\n");
    return errors > 0;
}
