/* The limit of a door that keeps its stamps: what `bench/ntp.py` holds truechimer's loop against, beside the echo.
 *
 *   ntp_floor ADDRESS PORT 1       a transmit stamp for each answer, sendto for each
 *   ntp_floor ADDRESS PORT 2       one for two neighbours in a batch of more than 8, sendmmsg of two
 *
 * It does what an honest NTP answer needs and nothing else: recvmmsg of 64, the kernel's receive stamp, 48 octets
 * written, the clock read just before the send. No rules, no counters, no rate table, no doubt about the host's clock,
 * which it serves as it is: nobody should serve time by it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define SHORT_BATCH 8
#define ERA 2208988800ULL

static uint64_t stamp_of(struct timespec t) {
    return htobe64(((uint64_t)t.tv_sec + ERA) << 32 | ((uint64_t)t.tv_nsec << 32) / 1000000000ULL);
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    static uint64_t words[BATCH][2112 / 8];
    static char control[BATCH][CMSG_SPACE(sizeof(struct timespec))];
    static struct sockaddr_in peers[BATCH];
    static struct iovec vectors[BATCH];
    static struct mmsghdr in[BATCH], out[BATCH];
    int each = atoi(argv[3]), one = 1, unbelieved = IP_PMTUDISC_PROBE;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &here.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &unbelieved, sizeof unbelieved);
    if (bind(fd, (void *)&here, sizeof here)) {
        perror("bind");
        return 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            vectors[i] = (struct iovec){words[i], 2048};
            in[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &vectors[i],
                                            .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof control[i]};
        }
        int came = recvmmsg(fd, in, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < came; i++) {
            struct cmsghdr *said = CMSG_FIRSTHDR(&in[i].msg_hdr);
            struct timespec t2 = {0};
            if (said)
                memcpy(&t2, CMSG_DATA(said), sizeof t2);
            uint64_t *p = words[i];
            p[3] = p[5];
            p[0] = htobe64(0x240106EC00000000ULL), p[1] = htobe64(0x1000000000ULL | 0x4c4f434cULL << 0), p[2] = stamp_of(t2);
            p[4] = stamp_of(t2);
            vectors[i].iov_len = 48;
            out[i].msg_hdr = (struct msghdr){
                .msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &vectors[i], .msg_iovlen = 1};
        }
        for (int i = 0; i < came;) {
            int count = each == 2 && came > SHORT_BATCH && i + 1 < came ? 2 : 1;
            struct timespec t3;
            clock_gettime(CLOCK_REALTIME, &t3);
            words[i][5] = stamp_of(t3);
            if (count == 1)
                sendto(fd, words[i], 48, MSG_DONTWAIT, (void *)&peers[i], sizeof peers[i]);
            else {
                words[i + 1][5] = words[i][5];
                sendmmsg(fd, out + i, 2, MSG_DONTWAIT);
            }
            i += count;
        }
    }
}
