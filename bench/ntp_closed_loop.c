/* A closed-loop NTP client for bench/ntp_accelerator.py: keeps a fixed number of requests under way, checks every
 * answer, and says how many came in how long.
 *
 *   ntp_closed_loop SERVER PORT SECONDS SOCKETS OUTSTANDING [one]
 *
 * SOCKETS sources 127.1.0.1, 127.1.0.2, ... (when SERVER is in 127.0.0.0/8), OUTSTANDING requests on each, sent and
 * received in batches of OUTSTANDING. An answer counts only if it has 48 octets, mode 4, the version asked, a stratum
 * from 1 to 15, and as origin the transmit stamp of a request of that socket that is still unanswered. With `one`, a
 * single request is under way at a time, and the quantiles of the round trip and of the offset served against
 * CLOCK_REALTIME are said too. One JSON line on stdout.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 256
#define SAMPLES 200000
static const double UNIX_MINUS_NTP = -2208988800.0;

struct one_socket {
    int fd;
    uint64_t awaited[MOST]; /* transmit stamps under way, 0: none */
    struct mmsghdr send[MOST], take[MOST];
    struct iovec send_iov[MOST], take_iov[MOST];
    uint8_t out[MOST][48], in[MOST][64];
};

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint64_t be64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return __builtin_bswap64(value);
}

static double seconds(uint64_t stamp) { return (double)(stamp >> 32) + UNIX_MINUS_NTP + (double)(stamp & 0xffffffffu) / 4294967296.0; }

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static uint64_t number = 1, bad = 0, answered = 0, lost = 0;

/* Send requests in the free places; the transmit stamp is a number never used before, so it says which request. */
static void ask(struct one_socket *s, int outstanding) {
    int free_places = 0;
    for (int k = 0; k < outstanding; k++) {
        if (s->awaited[k]) continue;
        uint64_t stamp = number++ * 0x9E3779B97F4A7C15ull | 1; /* odd multiplier, so no two alike; slot in a table */
        stamp = (stamp & ~0xFFull << 8) | (uint64_t)k << 8;
        s->awaited[k] = stamp;
        stamp = __builtin_bswap64(stamp);
        memcpy(s->out[free_places] + 40, &stamp, 8);
        free_places++;
    }
    int sent = free_places ? sendmmsg(s->fd, s->send, free_places, 0) : 0;
    if (sent < 0) sent = 0;
    for (int k = sent; k < free_places; k++) s->awaited[be64(s->out[k] + 40) >> 8 & 0xFF] = 0;
}

static int take(struct one_socket *s, int outstanding) {
    int got = recvmmsg(s->fd, s->take, outstanding, MSG_DONTWAIT, NULL);
    if (got <= 0) return 0;
    for (int k = 0; k < got; k++) {
        const uint8_t *in = s->in[k];
        uint64_t origin = be64(in + 24);
        int place = origin >> 8 & 0xFF;
        if (s->take[k].msg_len == 48 && (in[0] & 7) == 4 && (in[0] >> 3 & 7) == 4 && in[1] >= 1 && in[1] <= 15 &&
            place < outstanding && s->awaited[place] == origin) {
            s->awaited[place] = 0;
            answered++;
        } else {
            bad++;
        }
    }
    return got;
}

static void say(double wall) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("\"answered\": %llu, \"bad\": %llu, \"lost\": %llu, \"wall_s\": %.6f, \"cpu_s\": %.6f}\n",
           (unsigned long long)answered, (unsigned long long)bad, (unsigned long long)lost, wall,
           usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6);
}

static int one_at_a_time(struct one_socket *s, double for_s) {
    double *trip = malloc(SAMPLES * sizeof *trip), *offset = malloc(SAMPLES * sizeof *offset);
    uint64_t count = 0, early = 0, late = 0;
    double begin = now(CLOCK_MONOTONIC_RAW), end = begin + for_s;
    while (now(CLOCK_MONOTONIC_RAW) < end && count < SAMPLES) {
        struct pollfd waiting = {s->fd, POLLIN, 0};
        uint64_t stamp = __builtin_bswap64(number++ << 16 | 1);
        memcpy(s->out[0] + 40, &stamp, 8);
        double t1 = now(CLOCK_REALTIME);
        if (send(s->fd, s->out[0], 48, 0) != 48) continue;
        if (poll(&waiting, 1, 200) <= 0) { lost++; continue; }
        ssize_t length = recv(s->fd, s->in[0], sizeof s->in[0], 0);
        double t4 = now(CLOCK_REALTIME);
        if (length != 48 || memcmp(s->in[0] + 24, &stamp, 8) || s->in[0][1] < 1 || s->in[0][1] > 15) { bad++; continue; }
        double t2 = seconds(be64(s->in[0] + 32)), t3 = seconds(be64(s->in[0] + 40));
        early += t2 < t1 - 3e-7; /* doubles resolve 0.24 us here */
        late += t3 > t4 + 3e-7;
        trip[count] = t4 - t1;
        offset[count++] = (t2 - t1 + t3 - t4) / 2;
        answered++;
    }
    if (!count) { printf("{"); say(now(CLOCK_MONOTONIC_RAW) - begin); return 1; }
    qsort(trip, count, sizeof *trip, by_value);
    qsort(offset, count, sizeof *offset, by_value);
    printf("{\"trip_p50_s\": %.3e, \"trip_p99_s\": %.3e, \"offset_p1_s\": %.3e, \"offset_p50_s\": %.3e, \"offset_p99_s\": %.3e, "
           "\"received_before_sent\": %llu, \"sent_after_received\": %llu, ",
           trip[count / 2], trip[count * 99 / 100], offset[count / 100], offset[count / 2], offset[count * 99 / 100],
           (unsigned long long)early, (unsigned long long)late);
    say(now(CLOCK_MONOTONIC_RAW) - begin);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    double for_s = atof(argv[3]);
    int sockets = atoi(argv[4]), outstanding = atoi(argv[5]);
    if (sockets < 1 || outstanding < 1 || outstanding > MOST) return 2;
    struct one_socket *all = calloc(sockets, sizeof *all);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) return 2;
    int loopback = ntohl(server.sin_addr.s_addr) >> 24 == 127, room = 1 << 22;
    for (int i = 0; i < sockets; i++) {
        struct one_socket *s = &all[i];
        struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(loopback ? 0x7F010001u + i : 0)};
        s->fd = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        if (s->fd < 0 || bind(s->fd, (void *)&source, sizeof source) || connect(s->fd, (void *)&server, sizeof server)) {
            perror("socket");
            return 2;
        }
        for (int k = 0; k < MOST; k++) {
            s->out[k][0] = 0x23;
            s->send_iov[k] = (struct iovec){s->out[k], 48};
            s->take_iov[k] = (struct iovec){s->in[k], 64};
            s->send[k].msg_hdr = (struct msghdr){.msg_iov = &s->send_iov[k], .msg_iovlen = 1};
            s->take[k].msg_hdr = (struct msghdr){.msg_iov = &s->take_iov[k], .msg_iovlen = 1};
        }
    }
    if (argc > 6) return one_at_a_time(&all[0], for_s);
    struct pollfd *waiting = calloc(sockets, sizeof *waiting);
    for (int i = 0; i < sockets; i++) waiting[i] = (struct pollfd){all[i].fd, POLLIN, 0};
    double begin = now(CLOCK_MONOTONIC_RAW), at = begin, heard = begin;
    while (at < begin + for_s) {
        int got = 0;
        for (int i = 0; i < sockets; i++) {
            ask(&all[i], outstanding);
            got += take(&all[i], outstanding);
        }
        at = now(CLOCK_MONOTONIC_RAW);
        if (got) { heard = at; continue; }
        poll(waiting, sockets, 1);
        if (at - heard > 0.05) { /* what has not come by now is lost: ask anew */
            for (int i = 0; i < sockets; i++)
                for (int k = 0; k < outstanding; k++)
                    if (all[i].awaited[k]) { all[i].awaited[k] = 0; lost++; }
            heard = at;
        }
    }
    printf("{");
    say(at - begin);
    return 0;
}
