/* SPDX-License-Identifier: MIT */
#include "daemon/fit.h"

#include "common/clock.h"
#include "common/size.h"
#include <errno.h>
#include <stdlib.h>

#define FRESH_NS ((uint64_t)1000000000)
#define LATE_MS 1000 /* beyond the time of one driver call */

/* What is asked, or false: it was answered. A margin that is not asked for stays 0 bytes and 0 parts. */
static bool read_request(struct http_request *request, struct vram_fit_request *fit,
                         bool *ret_has_margin)
{
    const char *size = http_query(request, "size"), *margin = http_query(request, "margin");
    uint64_t gpus = 1;
    const char *wrong = NULL;
    *fit = (struct vram_fit_request)VRAM_FIT_REQUEST_INIT;
    *ret_has_margin = margin != NULL;
    if (!size || vram_size_parse(size, &fit->size_bytes) < 0) {
        wrong = "size is one such as 24G or 20000M";
    } else if (margin && margin_parse(margin, &fit->margin_bytes, &fit->margin_millipercent) < 0) {
        wrong = "margin is a size such as 1G or 0, or a part such as 5%";
    } else if (http_query_number(request, "gpus", &gpus) < 0 || gpus < 1 || gpus > UINT32_MAX) {
        wrong = "gpus is a number from 1 on";
    }
    fit->gpu_count = (uint32_t)gpus;
    if (wrong) {
        http_fail(request, 400, "bad_request", EINVAL, NULL, "%s", wrong);
    }
    return !wrong;
}

/* Of the GPUs' own margins the largest: one promise has one. */
static uint64_t usual_margin(const struct daemon *daemon, const struct vram_snapshot *snapshot)
{
    uint64_t most = 0;
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        uint64_t bytes = config_margin_bytes(
            config_margin_for(&daemon->config, gpu->index, gpu->uuid, gpu->pci), gpu->total_bytes);
        most = bytes != VRAM_UNKNOWN && bytes > most ? bytes : most;
    }
    return most;
}

static int write_answer(struct daemon *daemon, const struct vram_fit_request *asked,
                        char **ret_text)
{
    struct vram_promises promises = VRAM_PROMISES_INIT;
    struct vram_snapshot *promised = NULL;
    struct vram_fit *fit = NULL;
    int r = daemon->promises
                ? daemon->promises->fill(daemon->promises_data, NULL, daemon->snapshot, &promises)
                : 0;
    r = r < 0 ? r : vram_snapshot_promise(daemon->snapshot, &promises, &promised);
    r = r < 0 ? r : vram_fit(promised, asked, &fit);
    if (r >= 0) {
        const struct vram_fit *one = fit;
        r = vram_fit_json(&one, 1, ret_text);
    }
    (void)vram_fit_free(fit);
    (void)vram_snapshot_unref(promised);
    return r;
}

static void answer(struct daemon *daemon, struct http_request *request)
{
    struct vram_fit_request asked;
    bool has_margin;
    char *text = NULL;
    if (!read_request(request, &asked, &has_margin)) {
        return;
    }
    if (!has_margin) {
        asked.margin_bytes = usual_margin(daemon, daemon->snapshot);
    }
    int r = write_answer(daemon, &asked, &text);
    if (r == 0) {
        http_answer(request, 200, text);
    } else if (r == -ENODEV) {
        http_fail(request, 503, "no_gpu", ENODEV, NULL, "no GPU can be used");
    } else {
        http_fail_memory(request);
    }
    free(text);
}

static void answer_sampled(void *data, struct http_request *request, enum parked_end end,
                           const struct sample *sample)
{
    struct daemon *daemon = data;
    if (end == PARKED_SAMPLE && sample->snapshot) {
        answer(daemon, request);
    } else if (end == PARKED_SAMPLE && sample->error) {
        http_fail(request, 503, sample->error->code, -sample->result, sample->error->hint, "%s",
                  sample->error->message);
    } else {
        http_fail(request, 503, "driver_hung", ETIMEDOUT, NULL, "the driver does not answer");
    }
}

void fit_answer(struct daemon *daemon, struct http_request *request)
{
    struct vram_fit_request asked;
    bool has_margin;
    struct parked_wish wish = {
        .for_sample = true,
        .take = daemon->promises ? daemon->promises->take(daemon->promises_data) : 0,
        .timeout_ms = daemon->options.call_timeout_ns / 1000000 + LATE_MS,
        .answer = answer_sampled,
        .data = daemon,
    };
    bool fresh = daemon->snapshot && clock_now_ns() - daemon->snapshot_begun_ns < FRESH_NS &&
                 (wish.take & ~daemon->snapshot_take) == 0;
    if (!read_request(request, &asked, &has_margin)) {
        return;
    }
    if (collector_is_paused(daemon->collector)) {
        http_fail(request, 503, "paused", ENODEV, "`vram resume` takes it up again",
                  "vramd has let go of the driver");
    } else if (fresh) {
        answer(daemon, request);
    } else if (parking_add(daemon->parking, request, &wish) < 0) {
        http_fail_memory(request);
    } else {
        collector_ask(daemon->collector, wish.take);
    }
}
