/* The limit that bench/ntp.py measures against: a server that sends each datagram back, recvmmsg and sendmmsg of 64.
 *
 *   ntp_echo ADDRESS PORT          says "ready" and goes on until it is killed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BATCH 64

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    static char octets[BATCH][2048];
    static struct sockaddr_in peers[BATCH];
    static struct iovec vectors[BATCH];
    static struct mmsghdr messages[BATCH];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &here.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (void *)&here, sizeof here)) {
        perror("bind");
        return 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            vectors[i] = (struct iovec){octets[i], sizeof octets[i]};
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &vectors[i], .msg_iovlen = 1};
        }
        int came = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < came; i++)
            vectors[i].iov_len = messages[i].msg_len;
        for (int done = 0; done < came;) {
            int sent = sendmmsg(fd, messages + done, (unsigned)(came - done), 0);
            if (sent <= 0)
                break;
            done += sent;
        }
    }
}
