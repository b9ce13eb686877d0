/* SPDX-License-Identifier: MIT */
#include "lib/lease_record.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/json_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What was read is written as JSON that says the same. */
static void check_list(struct vram_lease_list *list)
{
    char *text, *again;
    MUST(vram_lease_list_json(list, &text) == 0);
    MUST(json_check(text, strlen(text)));
    json_t *document = json_loads(text, 0, NULL);
    struct vram_lease_list *copy = NULL;
    MUST(document && lease_record_list(document, &copy) == 0);
    MUST(vram_lease_list_json(copy, &again) == 0);
    MUST(strcmp(text, again) == 0);
    MUST(!vram_lease_list_lease(list, vram_lease_list_count(list)));
    MUST(!vram_lease_list_waiter(list, vram_lease_list_waiter_count(list)));
    MUST(!vram_lease_list_ceiling(list, vram_lease_list_ceiling_count(list)));
    (void)vram_lease_list_find(list, "8f14");
    json_decref(document);
    free(text);
    free(again);
    (void)vram_lease_list_free(copy);
}

static void check_verdict(const struct vram_verdict *verdict)
{
    char *text;
    MUST(verdict->answer <= VRAM_TIMED_OUT && verdict->message);
    MUST(verdict->answer != VRAM_FITS || verdict->lease);
    MUST(vram_verdict_json(verdict, &text) == 0);
    MUST(json_check(text, strlen(text)));
    free(text);
}

/* A daemon's answer is a list, a verdict, a wish, several or nothing, and never believed further than it goes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *document = json_loadb((const char *)data, size, 0, NULL);
    struct vram_lease_list *list = NULL;
    struct vram_verdict *verdict = NULL;
    if (!document) {
        return 0;
    }
    int r = lease_record_list(document, &list);
    MUST((r == 0 && list) || (r == -EPROTO && !list));
    if (r == 0) {
        check_list(list);
    }
    r = lease_record_verdict(document, &verdict);
    MUST((r == 0 && verdict) || (r == -EPROTO && !verdict));
    if (r == 0) {
        check_verdict(verdict);
    }
    struct vram_wanted *wanted = NULL;
    r = lease_record_wanted(document, &wanted);
    MUST((r == 0 && wanted) || (r == -EPROTO && !wanted));
    MUST(r < 0 || (wanted->for_whom && wanted->bytes != VRAM_UNKNOWN));
    for (size_t i = 0; r == 0 && i < wanted->gpu_count; i++) {
        MUST(wanted->gpus[i]);
    }
    free(wanted);
    json_decref(document);
    (void)vram_lease_list_free(list);
    (void)vram_verdict_free(verdict);
    return 0;
}
