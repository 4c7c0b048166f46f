/* NTP load generator for bench/ntp.py: asks one server from many addresses, checks every reply, prints one JSON line.
 *
 *   ntp_load closed ADDRESS PORT SECONDS KIND PID...            256 requests outstanding, as fast as they are answered
 *   ntp_load open   ADDRESS PORT SECONDS KIND RATE PID...       RATE requests a second, each at its own instant
 *
 * 64 connected sockets on 127.1.0.1 to 127.1.0.64. Closed: each sends 4 requests in one call (UDP segmentation), and
 * the next 4 when all are answered or 250 ms have passed. A reply counts if it is 48 octets from the server, mode 4,
 * synchronised, with the origin of a request that waits (KIND 1: 48 octets that came back; KIND 2: a server that may
 * say that it is not synchronised; KIND 3: it is asked in interleaved mode, RFC 9769; else 0). In interleaved mode each
 * request names an answer before it, and what counts is that answer: its T1, T2 and T4, and the T3 that the reply tells
 * of it; replies in basic mode are counted apart and not judged. T1 is read just before the send, T4 is the kernel's receive stamp; both CLOCK_REALTIME. Offset =
 * ((T2 - T1) + (T3 - T4)) / 2. The processor time of the server is that of all threads of the processes PID... between
 * the same two moments, by their processor-time clocks, which are right to the nanosecond while they run (schedstat is
 * brought up to date at each tick of the scheduler only: some percent of a short turn). Before either begins the server
 * is asked for 200 ms, or for a third of the SECONDS where they are few.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS 64
#define EACH 4
#define SLOTS 2048 /* requests of one client that may wait; a nonce ends with its slot */
#define MOST_SAMPLES (1 << 22)
#define ERA 2208988800LL
#define WARM_NS 200000000.0

static int sockets[CLIENTS], waiting[CLIENTS], echo_only, any_state, interleaves;
struct answer {
    uint64_t t2;
    int64_t t1, t4;
};
static struct answer held[CLIENTS][SLOTS], named[CLIENTS][SLOTS]; /* not named yet; named by the request in a slot */
static unsigned put[CLIENTS], taken[CLIENTS];
static long basic;
#define OTHER (1ULL << 63) /* transmit is receive but for this bit, so that the reply's origin tells the mode */
static int64_t sent_at[CLIENTS][SLOTS], since[CLIENTS][SLOTS];
static unsigned slot[CLIENTS], last = 63;
/* of the slots in use. An open loop uses all: 64 a client are asked anew within 30 ms at 150,000 requests a second, and
 * what a server with a deeper queue answers later would be an answer to nothing. */
static uint64_t nonce[CLIENTS][SLOTS], next_nonce = 0x9E3779B97F4A7C15ULL, last_t2[CLIENTS];
static int32_t *offsets, *t4_t3, *latencies;
static long samples, asked_now, replies, bad, lost, t2_before_t1, t3_after_t4, t2_repeated;
static int measuring;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t ns_of(uint64_t stamp) {
    return ((int64_t)(stamp >> 32) - ERA) * 1000000000LL + (int64_t)(((stamp & 0xFFFFFFFFULL) * 1000000000ULL) >> 32);
}

static uint64_t word(const unsigned char *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return __builtin_bswap64(x);
}

static int64_t processor_ns(int count, char **pids) {
    int64_t sum = 0;
    for (int i = 0; i < count; i++) {
        clockid_t clock;
        struct timespec t;
        if (!clock_getcpuclockid((pid_t)atoi(pids[i]), &clock) && !clock_gettime(clock, &t))
            sum += t.tv_sec * 1000000000LL + t.tv_nsec;
    }
    return sum;
}

static void request(unsigned char *p, uint64_t number) {
    uint64_t turned = __builtin_bswap64(number);
    memset(p, 0, 48);
    p[0] = 0x23;
    memcpy(p + 40, &turned, 8);
}

static void send_some(int c, int count, int64_t scheduled) {
    unsigned char out[48 * EACH];
    unsigned first = slot[c];
    for (int i = 0; i < count; i++) {
        unsigned at = slot[c]++ & last;
        if (nonce[c][at])
            lost++;
        next_nonce = next_nonce * 6364136223846793005ULL + 1442695040888963407ULL;
        nonce[c][at] = (next_nonce & ~(uint64_t)last) | at;
        request(out + 48 * i, nonce[c][at]);
        if (interleaves) {
            struct answer none = {.t2 = 1}, *of = &named[c][at];
            *of = taken[c] != put[c] ? held[c][taken[c]++ & last] : none;
            uint64_t origin = __builtin_bswap64(of->t2), transmit = __builtin_bswap64(nonce[c][at] ^ OTHER);
            memcpy(out + 48 * i + 32, out + 48 * i + 40, 8);
            memcpy(out + 48 * i + 24, &origin, 8);
            memcpy(out + 48 * i + 40, &transmit, 8);
        }
    }
    char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct iovec vector = {out, 48 * (size_t)count};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count > 1) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *c1 = CMSG_FIRSTHDR(&message);
        c1->cmsg_level = IPPROTO_UDP;
        c1->cmsg_type = UDP_SEGMENT;
        c1->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        *(uint16_t *)CMSG_DATA(c1) = 48;
    }
    int64_t t1 = now();
    for (int i = 0; i < count; i++) {
        sent_at[c][(first + (unsigned)i) & last] = t1;
        since[c][(first + (unsigned)i) & last] = scheduled ? scheduled : t1;
    }
    if (sendmsg(sockets[c], &message, 0) == 48 * count) {
        waiting[c] += count;
        asked_now += measuring ? count : 0;
    }
}

static int take(int c) {
    static unsigned char in[8][128];
    static char control[8][128];
    static struct iovec vectors[8];
    static struct mmsghdr messages[8];
    for (int i = 0; i < 8; i++) {
        vectors[i] = (struct iovec){in[i], sizeof in[i]};
        messages[i].msg_hdr = (struct msghdr){
            .msg_iov = &vectors[i], .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof control[i]};
    }
    int came = recvmmsg(sockets[c], messages, 8, MSG_DONTWAIT, NULL);
    for (int i = 0; i < came; i++) {
        if (messages[i].msg_len != 48) {
            bad++;
            continue;
        }
        uint64_t wanted = word(in[i] + (echo_only ? 40 : 24));
        unsigned which = wanted & last;
        int is_basic = interleaves && (nonce[c][which] ^ OTHER) == wanted;
        if (is_basic)
            wanted ^= OTHER;
        int fine = wanted && nonce[c][which] == wanted && (echo_only || ((in[i][0] & 7) == 4 &&
                   (any_state || (in[i][0] >> 6 != 3 && in[i][1] >= 1 && in[i][1] < 16))));
        if (!fine) {
            bad++;
            continue;
        }
        nonce[c][which] = 0;
        waiting[c]--;
        replies += measuring;
        if (echo_only || (!measuring && !interleaves))
            continue;
        int64_t t4 = 0;
        for (struct cmsghdr *m = CMSG_FIRSTHDR(&messages[i].msg_hdr); m; m = CMSG_NXTHDR(&messages[i].msg_hdr, m))
            if (m->cmsg_level == SOL_SOCKET && m->cmsg_type == SCM_TIMESTAMPNS) {
                struct timespec t;
                memcpy(&t, CMSG_DATA(m), sizeof t);
                t4 = t.tv_sec * 1000000000LL + t.tv_nsec;
            }
        uint64_t t2_stamp = word(in[i] + 32);
        int64_t t1 = sent_at[c][which], t2 = ns_of(t2_stamp), t3 = ns_of(word(in[i] + 40));
        if (interleaves) {
            struct answer of = named[c][which], now_held = {t2_stamp, t1, t4};
            held[c][put[c]++ & last] = now_held;
            if (put[c] - taken[c] > last + 1)
                taken[c] = put[c] - last - 1;
            if (!measuring)
                continue;
            t2_repeated += t2_stamp == last_t2[c];
            last_t2[c] = t2_stamp;
            basic += is_basic;
            if (is_basic)
                continue;
            t1 = of.t1, t2 = ns_of(of.t2), t4 = of.t4;
        }
        t2_before_t1 += t2 < t1;
        t3_after_t4 += t3 > t4;
        if (!interleaves) {
            t2_repeated += t2_stamp == last_t2[c];
            last_t2[c] = t2_stamp;
        }
        if (samples < MOST_SAMPLES) {
            int64_t offset = ((t2 - t1) + (t3 - t4)) / 2, gap = t4 - t3, latency = t4 - since[c][which];
            offsets[samples] = offset > 2000000000 ? 2000000000 : offset < -2000000000 ? -2000000000 : (int32_t)offset;
            t4_t3[samples] = gap > 2000000000 ? 2000000000 : gap < -2000000000 ? -2000000000 : (int32_t)gap;
            latencies[samples++] = latency > 2000000000 ? 2000000000 : (int32_t)latency;
        }
    }
    return came > 0 ? came : 0;
}

static int by_value(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void quantiles(const char *name, int32_t *values) {
    static const double at[] = {0.01, 0.5, 0.99, 0.999};
    static const char *called[] = {"p1", "p50", "p99", "p999"};
    qsort(values, (size_t)samples, sizeof *values, by_value);
    printf(", \"%s\": {", name);
    for (int i = 0; i < 4; i++)
        printf("%s\"%s\": %.9f", i ? ", " : "", called[i], samples ? 1e-9 * values[(long)(at[i] * (double)(samples - 1))] : 0.0);
    printf("}");
}

int main(int argc, char **argv) {
    if (argc < 6)
        return 2;
    int open_loop = !strcmp(argv[1], "open"), first_pid = open_loop ? 7 : 6;
    double seconds = atof(argv[4]), rate = open_loop ? atof(argv[6]) : 0;
    echo_only = atoi(argv[5]) == 1, any_state = atoi(argv[5]) == 2, interleaves = atoi(argv[5]) == 3;
    last = open_loop ? SLOTS - 1 : last;
    offsets = calloc(MOST_SAMPLES, 4), t4_t3 = calloc(MOST_SAMPLES, 4), latencies = calloc(MOST_SAMPLES, 4);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
    inet_pton(AF_INET, argv[2], &server.sin_addr);
    for (int c = 0; c < CLIENTS; c++) {
        int one = 1;
        struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F010001 + (uint32_t)c)};
        sockets[c] = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(sockets[c], SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
        if (bind(sockets[c], (void *)&here, sizeof here) || connect(sockets[c], (void *)&server, sizeof server)) {
            perror("bind or connect");
            return 1;
        }
    }
    int64_t warm = (int64_t)(seconds * 1e9 / 3 < WARM_NS ? seconds * 1e9 / 3 : WARM_NS);
    int64_t start = now(), end = start + warm + (int64_t)(seconds * 1e9), begun = 0, cpu = 0, asked = 0, t;
    int next = 0;
    while ((t = now()) < end) {
        if (!measuring && t - start >= warm) {
            measuring = 1, begun = t, lost = 0, bad = 0;
            cpu = processor_ns(argc - first_pid, argv + first_pid);
        }
        if (open_loop) {
            int64_t due = start + (int64_t)((double)asked * 1e9 / rate);
            if (t >= due && asked < (int64_t)(1e18)) {
                send_some(next, 1, due);
                next = (next + 1) % CLIENTS;
                asked++;
            } else
                for (int k = 0; k < 4; k++)
                    take((int)(((t >> 8) + k) % CLIENTS));
            for (int k = 1; k <= 4; k++)
                if (waiting[(next - k + CLIENTS) % CLIENTS])
                    take((next - k + CLIENTS) % CLIENTS);
            continue;
        }
        for (int c = 0; c < CLIENTS; c++) {
            if (waiting[c])
                take(c);
            if (waiting[c] && t - sent_at[c][(slot[c] - 1) & last] > 250000000) {
                lost += waiting[c], waiting[c] = 0;
                memset(nonce[c], 0, sizeof nonce[c]);
            }
            if (!waiting[c])
                send_some(c, EACH, 0);
        }
    }
    cpu = processor_ns(argc - first_pid, argv + first_pid) - cpu;
    double wall = 1e-9 * (double)(now() - begun);
    printf("{\"replies\": %ld, \"wall_s\": %.6f, \"server_cpu_s\": %.6f, \"replies_per_s\": %.1f, \"replies_per_cpu_s\": %.1f", replies,
           wall, 1e-9 * (double)cpu, (double)replies / wall, cpu > 0 ? (double)replies / (1e-9 * (double)cpu) : 0.0);
    printf(", \"asked_per_s\": %.1f", (double)asked_now / wall);
    printf(", \"bad\": %ld, \"lost\": %ld, \"t2_before_t1\": %ld, \"t3_after_t4\": %ld, \"t2_repeated\": %ld", bad, lost, t2_before_t1,
           t3_after_t4, t2_repeated);
    if (interleaves)
        printf(", \"basic\": %ld, \"interleaved\": %ld", basic, replies - basic);
    if (!echo_only) {
        quantiles("offset_s", offsets);
        quantiles("t4_minus_t3_s", t4_t3);
        quantiles("latency_s", latencies);
        for (long i = 0; i < samples; i++)
            offsets[i] = offsets[i] < 0 ? -offsets[i] : offsets[i];
        quantiles("error_s", offsets);
    }
    printf("}\n");
    return 0;
}
