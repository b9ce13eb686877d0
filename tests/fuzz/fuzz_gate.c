/* SPDX-License-Identifier: MIT */
#include "common/exposition.h"
#include "common/utf8.h"
#include "daemon/gate.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

/* A label's value has nothing in it that would end it, whatever it was, and is clean when it was cleaned once. */
static void clean(const char *text)
{
    char once[EXPOSITION_VALUE_MAX + 1], twice[EXPOSITION_VALUE_MAX + 1];
    const char *at = exposition_clean(once, sizeof(once), text);
    MUST(strlen(once) <= EXPOSITION_VALUE_MAX);
    MUST(strcmp(once, exposition_clean(twice, sizeof(twice), once)) == 0);
    while (*at) {
        uint32_t c;
        at += utf8_next(at, &c);
        MUST(c != UTF8_INVALID && c >= ' ' && c != 0x7f);
    }
}

/* Of all that a client may say only what is listed is known; an address that is accepted is read again as the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char token[] = "0123456789abcdef";
    struct gate_address address, again, listened;
    char *text = fuzz_text(data, size);
    int r = gate_parse_address(text, &address);
    MUST(r == 0 || r == -EINVAL);
    if (r == 0) {
        MUST(gate_parse_address(address.text, &again) == 0);
        MUST(strcmp(address.text, again.text) == 0);
        MUST(again.is_loopback == address.is_loopback && again.is_any == address.is_any);
        MUST(!(address.is_loopback && address.is_any));
    }
    MUST(gate_parse_address("9464", &listened) == 0);
    bool known = gate_knows_host(text, &listened, "");
    MUST(known == gate_knows_host(text, &listened, "x.example"));
    MUST(!known || strcspn(text, " /@\\?#") == strlen(text));
    MUST(!gate_knows_origin(text, &listened, "") || strstr(text, "://"));
    MUST(!gate_has_token(text, token) || strstr(text, token));
    (void)gate_are_hosts(text);
    clean(text);
    free(text);
    return 0;
}
