/* SPDX-License-Identifier: MIT */
/* vram fit: does each size fit now, and if not, why and who is in the way? */
#include "cli/command.h"

#include "cli/fields.h"
#include "cli/session.h"
#include "cli/stop.h"
#include "cli/values.h"
#include "cli/verdict.h"
#include "common/clock.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* A daemon says when something has changed; what programs without a lease do is seen by asking, which is done this
 * often at least. */
#define WAIT_MAX_NS ((uint64_t)1000 * 1000000)
/* Without one, while it waits it asks at most four times a second, and spends at most a fifth of the time on
 * asking. */
#define PAUSE_MIN_NS ((uint64_t)250 * 1000000)
enum { PAUSE_PER_SAMPLE = 4 };

/* One SIZE and its answer. */
struct question {
    struct vram_fit_request request;
    struct vram_fit *answer;
};

struct inquiry {
    struct cli *cli;
    struct question *questions;
    size_t count;
    bool waits;
    uint64_t timeout_ns;
    struct vram_snapshot *snapshot; /* that the answers are about */
};

static void forget_answers(struct inquiry *inquiry)
{
    for (size_t i = 0; i < inquiry->count; i++) {
        inquiry->questions[i].answer = vram_fit_free(inquiry->questions[i].answer);
    }
    session_snapshot_done(&inquiry->snapshot);
}

static void inquiry_done(struct inquiry *inquiry)
{
    forget_answers(inquiry);
    free(inquiry->questions);
}

/* Reads the sizes and what applies to all of them. */
static int read_questions(struct inquiry *inquiry)
{
    struct cli *cli = inquiry->cli;
    struct vram_fit_request common = VRAM_FIT_REQUEST_INIT;
    int status = values_margin(cli, &common);
    if (status == 0) {
        status = values_count(cli, "gpus", &common.gpu_count);
    }
    if (status == 0) {
        inquiry->waits = arguments_has(&cli->arguments, "timeout");
        status = values_duration(cli, "timeout", &inquiry->timeout_ns);
    }
    if (status != 0) {
        return status;
    }
    inquiry->questions = calloc(cli->arguments.word_count, sizeof(*inquiry->questions));
    if (!inquiry->questions) {
        return cli_fail_memory(cli);
    }
    inquiry->count = cli->arguments.word_count;
    for (size_t i = 0; status == 0 && i < inquiry->count; i++) {
        inquiry->questions[i].request = common;
        status =
            values_size(cli, cli->arguments.words[i], &inquiry->questions[i].request.size_bytes);
    }
    return status;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static int fail_unusable(struct cli *cli, const struct vram_snapshot *snapshot,
                         const struct selection *selection)
{
    char label[GPU_LABEL_MAX];
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, selection->positions[0]);
    return cli_fail(cli, STATUS_NO_GPU, "no_usable_gpu", "`vram doctor` tells what to do",
                    "none of the GPUs asked about can be used: GPU %s is %s%s",
                    session_gpu_label(gpu, label), vram_gpu_state_name(gpu->state),
                    selection->count > 1 ? ", and the others are no better" : "");
}

/* The daemon's next snapshot, as soon as there is one and no later than `wait_ns` from now. False where there is no
 * daemon, or none any more. */
static bool await_snapshot(struct inquiry *inquiry, uint64_t epoch, uint64_t wait_ns)
{
    uint64_t wait_ms = (wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS) / 1000000;
    return epoch &&
           vram_snapshot_wait(inquiry->cli->vram, 0, epoch, wait_ms + 1, &inquiry->snapshot) == 0 &&
           vram_snapshot_gpu_count(inquiry->snapshot) > 0;
}

/* Answers every question from one new snapshot; waits for a daemon's at most `wait_ns`. */
static int ask(struct inquiry *inquiry, uint32_t take, uint64_t epoch, uint64_t wait_ns)
{
    struct cli *cli = inquiry->cli;
    struct selection selection CLEANUP(selection_done) = {0};
    int status = 0;
    forget_answers(inquiry);
    if (!await_snapshot(inquiry, epoch, wait_ns)) {
        session_snapshot_done(&inquiry->snapshot);
        status = session_take(cli, take, &inquiry->snapshot);
    }
    if (status == 0) {
        status = session_candidates(cli, inquiry->snapshot, &selection);
    }
    for (size_t i = 0; status == 0 && i < inquiry->count; i++) {
        struct question *question = &inquiry->questions[i];
        question->request.candidates = selection.positions;
        question->request.candidate_count = selection.count;
        int r = vram_fit(inquiry->snapshot, &question->request, &question->answer);
        question->request.candidates = NULL;
        if (r == -ENODEV) {
            status = fail_unusable(cli, inquiry->snapshot, &selection);
        } else if (r < 0) {
            status = cli_fail_memory(cli);
        }
    }
    return status;
}

/* Nothing is left to wait for: all fit, or one never will. */
static bool is_settled(const struct inquiry *inquiry)
{
    bool all_fit = true;
    for (size_t i = 0; i < inquiry->count; i++) {
        uint32_t answer = inquiry->questions[i].answer->answer;
        if (answer == VRAM_NEVER) {
            return true;
        }
        all_fit = all_fit && answer == VRAM_FITS;
    }
    return all_fit;
}

static void pause_for(uint64_t ns)
{
    struct timespec rest = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR) {
    }
}

static uint64_t left_ns(const struct inquiry *inquiry, uint64_t started)
{
    uint64_t passed = clock_now_ns() - started;
    return passed < inquiry->timeout_ns ? inquiry->timeout_ns - passed : 0;
}

/* Asks once, or until it is settled or the time is up. Who holds the memory is asked only for an
 * answer that shows it. */
static int ask_until_settled(struct inquiry *inquiry)
{
    uint64_t started = clock_now_ns(), epoch = 0;
    bool text = inquiry->cli->format == FORMAT_TEXT;
    for (;;) {
        uint64_t begun = clock_now_ns(), left = inquiry->waits ? left_ns(inquiry, started) : 0;
        bool last = left == 0;
        int status = ask(inquiry, last && text ? VRAM_TAKE_PROCESSES | VRAM_TAKE_COMMANDS : 0,
                         last ? 0 : epoch, left);
        if (status != 0 || last || is_settled(inquiry)) {
            return status;
        }
        epoch = vram_snapshot_epoch(inquiry->snapshot);
        if (epoch == 0) {
            uint64_t pause = (clock_now_ns() - begun) * PAUSE_PER_SAMPLE;
            left = left_ns(inquiry, started);
            pause = pause < PAUSE_MIN_NS ? PAUSE_MIN_NS : pause;
            pause_for(pause < left ? pause : left);
        }
    }
}

/* ---- Answering ------------------------------------------------------------------------------- */

static int print_json(struct inquiry *inquiry)
{
    char *text = NULL;
    const struct vram_fit **answers = calloc(inquiry->count, sizeof(*answers));
    for (size_t i = 0; answers && i < inquiry->count; i++) {
        answers[i] = inquiry->questions[i].answer;
    }
    int r = answers ? vram_fit_json(answers, inquiry->count, &text) : -ENOMEM;
    free(answers);
    if (r < 0) {
        return cli_fail_memory(inquiry->cli);
    }
    buf_text(&inquiry->cli->out, text);
    buf_char(&inquiry->cli->out, '\n');
    free(text);
    return 0;
}

static void add_csv(struct buf *out, const struct vram_fit *answer)
{
    struct buf chosen = BUF_INIT;
    for (size_t i = 0; i < answer->count; i++) {
        if (answer->gpus[i].chosen) {
            buf_text(&chosen, chosen.length ? " " : "");
            buf_text(&chosen, answer->gpus[i].uuid ? answer->gpus[i].uuid : "");
        }
    }
    fields_csv(out, VRAM_OBJECT_FIT, answer);
    buf_char(out, ',');
    fields_csv_text(out, chosen.data);
    buf_char(out, '\n');
    out->failed = out->failed || chosen.failed;
    buf_done(&chosen);
}

static int print_answers(struct inquiry *inquiry)
{
    struct cli *cli = inquiry->cli;
    if (cli->format == FORMAT_JSON) {
        return print_json(inquiry);
    }
    if (!inquiry->questions[0].answer->promises_counted) {
        cli_note(cli, "promises are not counted: no daemon runs");
    }
    if (cli->format == FORMAT_CSV) {
        fields_csv_header(&cli->out, VRAM_OBJECT_FIT);
        buf_text(&cli->out, ",gpus_chosen\n");
    }
    for (size_t i = 0; i < inquiry->count; i++) {
        if (cli->format == FORMAT_CSV) {
            add_csv(&cli->out, inquiry->questions[i].answer);
        } else {
            verdict_print(&cli->out, cli_screen(cli), inquiry->snapshot,
                          inquiry->questions[i].answer);
        }
    }
    return 0;
}

/* Of several answers the most serious counts. */
static int status_of(const struct inquiry *inquiry)
{
    static const struct {
        uint32_t answer;
        int status;
    } order[] = {
        {VRAM_CANNOT_TELL, STATUS_UNKNOWN},
        {VRAM_NEVER, STATUS_NEVER},
        {VRAM_NOT_NOW, STATUS_NO},
    };
    if (inquiry->waits && !is_settled(inquiry)) {
        return STATUS_TIMED_OUT;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(order); i++) {
        for (size_t j = 0; j < inquiry->count; j++) {
            if (inquiry->questions[j].answer->answer == order[i].answer) {
                return order[i].status;
            }
        }
    }
    return STATUS_YES;
}

static int run(struct cli *cli)
{
    struct inquiry inquiry CLEANUP(inquiry_done) = {.cli = cli};
    int status = read_questions(&inquiry);
    if (status == 0) {
        status = session_open(cli);
    }
    if (status == 0) {
        session_resume(cli);
    }
    if (status == 0 && inquiry.waits) {
        stop_on(SIGINT, STATUS_INTERRUPTED);
        cli_note(
            cli,
            "nothing is held: what fits now may be taken by another program before yours starts");
    }
    if (status == 0) {
        status = ask_until_settled(&inquiry);
    }
    if (status == 0) {
        status = print_answers(&inquiry);
    }
    return status != 0 ? status : status_of(&inquiry);
}

static const struct option options[] = {
    {"margin", 0, "M",
     "what must stay free after it: a size or a percentage of the total (1024 MiB)"},
    {"gpus", 0, "N", "SIZE on each of N GPUs (1)"},
    {"timeout", 0, "T",
     "wait until it fits, at most so long: 500ms, 30s, 5m; nothing is held for you"},
    {NULL, 0, NULL, NULL},
};

static const uint32_t objects[] = {VRAM_OBJECT_FIT, VRAM_OBJECT_FIT_GPU};

const struct command command_fit = {
    .name = "fit",
    .summary = "does SIZE fit, with a margin?",
    .arguments = "SIZE...",
    .description = "Answers for each SIZE by itself whether a program that will allocate it fits: "
                   "it does where SIZE is no more than the headroom, which is free memory less "
                   "what leases have promised less the margin. SIZE is what is still to be "
                   "allocated. Units are B, K, M, G and T, alone or with B or iB behind them, all "
                   "binary; a bare number is MiB; decimals are allowed.\n\nThe GPUs asked about "
                   "are those that --gpu names, else those that CUDA_VISIBLE_DEVICES shows CUDA "
                   "programs, else all. Of those on which it fits the fullest is chosen, so that "
                   "the emptiest stay whole. An answer is no promise: another program may take "
                   "the memory meanwhile.",
    .options = options,
    .json = "one object: schema and answers, each with gpus_chosen (UUIDs) and gpus, the "
            "arithmetic of each GPU",
    .csv =
        "one row for each answer; its last column is gpus_chosen, UUIDs with blanks between them",
    .objects = objects,
    .object_count = ARRAY_LENGTH(objects),
    .statuses = "0123456ti",
    .examples = "vram fit 20000\tdo 20000 MiB fit somewhere?\n"
                "vram fit 4G 12G --gpu 0\ttwo sizes, on GPU 0\n"
                "vram fit 40G --gpus 2 --margin 5%\ton each of two GPUs\n"
                "vram fit 12G --timeout 10m && ./train\twait for room\n",
    .words_min = 1,
    .words_max = SIZE_MAX,
    .run = run,
};
