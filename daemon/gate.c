/* SPDX-License-Identifier: MIT */
#include "daemon/gate.h"

#include "common/path.h"
#include "common/text.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT_DIGITS 5
#define HOST_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:[]"

/* ---- Addresses ------------------------------------------------------------------------------- */

/* 0 to 65535; -1: it is no port. */
static int parse_port(const char *text)
{
    size_t length = strspn(text, "0123456789");
    if (!length || length > PORT_DIGITS || text[length]) {
        return -1;
    }
    long port = strtol(text, NULL, 10);
    return port <= UINT16_MAX ? (int)port : -1;
}

static void describe(struct gate_address *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (address->address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->address;
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        (void)snprintf(address->text, sizeof(address->text), "[%s]:%u", text,
                       (unsigned)ntohs(in6->sin6_port));
        address->is_loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
        address->is_any = IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address->address;
        (void)inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        (void)snprintf(address->text, sizeof(address->text), "%s:%u", text,
                       (unsigned)ntohs(in->sin_port));
        address->is_loopback = ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
        address->is_any = in->sin_addr.s_addr == htonl(INADDR_ANY);
    }
}

static int set_address(const char *host, bool is_ipv6, int port, struct gate_address *address)
{
    *address = (struct gate_address){.size = 0};
    if (is_ipv6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address->address;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        address->size = sizeof(*in6);
        return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1 ? 0 : -EINVAL;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)&address->address;
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    address->size = sizeof(*in);
    host = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    return inet_pton(AF_INET, host, &in->sin_addr) == 1 ? 0 : -EINVAL;
}

int gate_parse_address(const char *text, struct gate_address *ret_address)
{
    struct gate_address address;
    char host[GATE_TEXT_MAX] = "127.0.0.1";
    const char *colon = strrchr(text, ':');
    int port = parse_port(colon ? colon + 1 : text);
    size_t length = colon ? (size_t)(colon - text) : 0;
    bool is_ipv6 = length >= 2 && text[0] == '[' && colon[-1] == ']';
    if (port < 0 || length >= sizeof(host) || (colon && !length)) {
        return -EINVAL;
    }
    if (is_ipv6) {
        (void)text_copy_n(host, sizeof(host), text + 1, length - 2);
    } else if (colon) {
        (void)text_copy_n(host, sizeof(host), text, length);
    }
    int r = set_address(host, is_ipv6, port, &address);
    if (r == 0) {
        describe(&address);
        *ret_address = address;
    }
    return r;
}

int gate_address_of(int fd, struct gate_address *ret_address)
{
    struct gate_address address = {.size = sizeof(address.address)};
    if (getsockname(fd, (struct sockaddr *)&address.address, &address.size) < 0) {
        return -errno;
    }
    describe(&address);
    *ret_address = address;
    return 0;
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* How much of "name:port" is the name; 0: it is none. */
static size_t name_length(const char *host)
{
    const char *close = host[0] == '[' ? strchr(host, ']') : NULL;
    size_t length = close ? (size_t)(close - host) + 1 : strcspn(host, ":");
    bool whole = !host[length] || (host[length] == ':' && parse_port(host + length + 1) >= 0);
    return whole ? length : 0;
}

static bool is_name(const char *host, size_t length, const char *name, size_t name_size)
{
    return length && length == name_size && text_begins(host, name, name_size);
}

bool gate_knows_host(const char *host, const struct gate_address *listened, const char *hosts)
{
    static const char *const own[] = {"localhost", "127.0.0.1", "[::1]"};
    size_t length = host ? name_length(host) : 0;
    bool known = !listened->is_any &&
                 is_name(host ? host : "", length, listened->text, name_length(listened->text));
    for (size_t i = 0; !known && length && i < ARRAY_LENGTH(own); i++) {
        known = is_name(host, length, own[i], strlen(own[i]));
    }
    while (!known && length && *hosts) {
        size_t blanks = strspn(hosts, " \t,");
        size_t size = strcspn(hosts + blanks, " \t,");
        known = is_name(host, length, hosts + blanks, size);
        hosts += blanks + size;
    }
    return known;
}

bool gate_knows_origin(const char *origin, const struct gate_address *listened, const char *hosts)
{
    static const char *const schemes[] = {"http://", "https://"};
    if (!origin) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(schemes); i++) {
        size_t length = strlen(schemes[i]);
        if (text_begins(origin, schemes[i], length)) {
            return gate_knows_host(origin + length, listened, hosts);
        }
    }
    return false; /* "null" too: a page in a sandbox */
}

bool gate_knows_site(const char *site)
{
    return !site || strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
}

bool gate_are_hosts(const char *hosts)
{
    return hosts[strspn(hosts, HOST_CHARACTERS " \t,")] == '\0';
}

/* ---- The token ------------------------------------------------------------------------------- */

bool gate_has_token(const char *authorization, const char *token)
{
    static const char scheme[] = "Bearer ";
    size_t length = sizeof(scheme) - 1;
    if (!authorization || !text_begins(authorization, scheme, length)) {
        return false;
    }
    const char *given = authorization + length + strspn(authorization + length, " ");
    size_t given_length = strnlen(given, GATE_TOKEN_MAX), token_length = strlen(token);
    volatile unsigned differs = given_length != token_length;
    for (size_t i = 0; i < GATE_TOKEN_MAX; i++) {
        unsigned char a = (unsigned char)given[i < given_length ? i : given_length];
        unsigned char b = (unsigned char)token[i < token_length ? i : token_length];
        differs |= (unsigned)(a ^ b);
    }
    return !differs && token_length >= GATE_TOKEN_MIN;
}

static int PRINTF_LIKE(4, 5)
    complain(char problem[GATE_PROBLEM_MAX], const char *path, int r, const char *format, ...)
{
    int length = snprintf(problem, GATE_PROBLEM_MAX, "the token file %.200s ", path);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(problem + length, GATE_PROBLEM_MAX - (size_t)length, format, args);
    va_end(args);
    return r;
}

/* What must hold of the file that is read, not of one that has the name later. */
static int check_file(int fd, const char *path, char problem[GATE_PROBLEM_MAX])
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return complain(problem, path, -errno, "cannot be looked at: %s", strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return complain(problem, path, -EINVAL, "is no file");
    }
    if (st.st_mode & 077) {
        return complain(problem, path, -EPERM, "can be read by others; `chmod 600` mends that");
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        return complain(problem, path, -EPERM, "belongs to another user");
    }
    return 0;
}

int gate_read_token(const char *path, char token[GATE_TOKEN_MAX], char problem[GATE_PROBLEM_MAX])
{
    char text[GATE_TOKEN_MAX + 2];
    int fd = path_open("", path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) {
        return complain(problem, path, fd, "cannot be opened: %s", strerror(-fd));
    }
    int r = check_file(fd, path, problem);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    int length = path_read_fd(fd, text, sizeof(text));
    if (length < 0) {
        return complain(problem, path, length, "cannot be read: %s", strerror(-length));
    }
    while (length > 0 && strchr(" \t\r\n", text[length - 1])) {
        text[--length] = '\0';
    }
    for (int i = 0; i < length; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return complain(problem, path, -EINVAL, "holds more than a word of plain characters");
        }
    }
    if (length < GATE_TOKEN_MIN || length >= GATE_TOKEN_MAX) {
        return complain(problem, path, -EINVAL, "holds no token of %d to %d characters",
                        GATE_TOKEN_MIN, GATE_TOKEN_MAX - 1);
    }
    (void)text_copy(token, GATE_TOKEN_MAX, text);
    return 0;
}
