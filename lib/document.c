/* SPDX-License-Identifier: MIT */
/* The JSON documents of schema 1: snapshots and fit answers, made of the field table. */
#include "lib/document.h"

#include "common/utc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void write_value(struct json *json, const char *key, struct vram_value value)
{
    switch (value.type) {
    case VRAM_VALUE_NUMBER:
        json_number(json, key, value.number);
        break;
    case VRAM_VALUE_SIGNED:
        json_signed(json, key, value.signed_number);
        break;
    case VRAM_VALUE_TEXT:
        json_text(json, key, value.text);
        break;
    case VRAM_VALUE_BOOL:
        json_bool(json, key, value.truth);
        break;
    default:
        json_null(json, key);
    }
}

void document_fields(struct json *json, uint32_t object, const void *data)
{
    size_t count;
    const struct vram_field *fields = vram_fields(object, &count);
    for (size_t i = 0; i < count; i++) {
        write_value(json, fields[i].key, vram_field_value(object, i, data));
    }
}

int document_finish(struct buf *buf, char **ret_text)
{
    char *text = buf_steal(buf, NULL);
    if (!text) {
        return -ENOMEM;
    }
    *ret_text = text;
    return 0;
}

/* ---- Snapshots ------------------------------------------------------------------------------- */

static void write_time(struct json *json, const char *key, uint64_t ns)
{
    char text[UTC_TEXT_MAX];
    json_text(json, key, utc_format(ns, text));
}

static void write_driver(struct json *json, const struct vram_driver *driver)
{
    json_object(json, "driver");
    json_text(json, "kind", driver->kind);
    json_text(json, "version", driver->version);
    json_text(json, "cuda", driver->cuda);
    json_text(json, "library", driver->library);
    json_end_object(json);
}

static void write_problems(struct json *json, const struct vram_snapshot *snapshot)
{
    json_array(json, "errors");
    for (size_t i = 0; i < vram_snapshot_problem_count(snapshot); i++) {
        const struct vram_problem *problem = vram_snapshot_problem(snapshot, i);
        json_object(json, NULL);
        json_text(json, "gpu", problem->gpu);
        json_text(json, "what", problem->what);
        json_text(json, "code", problem->code);
        json_text(json, "message", problem->message);
        json_end_object(json);
    }
    json_end_array(json);
}

static void write_gpu(struct json *json, const struct vram_gpu *gpu)
{
    json_object(json, NULL);
    document_fields(json, VRAM_OBJECT_GPU, gpu);
    if (gpu->processes_known) {
        json_array(json, "processes");
        for (size_t i = 0; i < gpu->process_count; i++) {
            json_object(json, NULL);
            document_fields(json, VRAM_OBJECT_PROCESS, &gpu->processes[i]);
            json_end_object(json);
        }
        json_end_array(json);
    } else {
        json_null(json, "processes");
    }
    json_end_object(json);
}

int vram_snapshot_json(const struct vram_snapshot *snapshot, const size_t *positions, size_t count,
                       char **ret_text)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    write_time(&json, "taken_at", vram_snapshot_taken_at_ns(snapshot));
    if (vram_snapshot_epoch(snapshot)) {
        json_number(&json, "epoch", vram_snapshot_epoch(snapshot));
    }
    if (vram_snapshot_waiters(snapshot) != VRAM_UNKNOWN) {
        json_number(&json, "waiters", vram_snapshot_waiters(snapshot));
    }
    write_driver(&json, vram_snapshot_driver(snapshot));
    write_problems(&json, snapshot);
    json_array(&json, "gpus");
    count = positions ? count : vram_snapshot_gpu_count(snapshot);
    for (size_t i = 0; i < count; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, positions ? positions[i] : i);
        if (gpu) {
            write_gpu(&json, gpu);
        }
    }
    json_end_array(&json);
    json_end_object(&json);
    return document_finish(&buf, ret_text);
}

/* ---- Answers --------------------------------------------------------------------------------- */

void document_fit(struct json *json, const char *key, const struct vram_fit *fit)
{
    json_object(json, key);
    document_fields(json, VRAM_OBJECT_FIT, fit);
    json_array(json, "gpus_chosen");
    for (size_t i = 0; i < fit->count; i++) {
        if (fit->gpus[i].chosen) {
            json_text(json, NULL, fit->gpus[i].uuid);
        }
    }
    json_end_array(json);
    json_array(json, "gpus");
    for (size_t i = 0; i < fit->count; i++) {
        json_object(json, NULL);
        document_fields(json, VRAM_OBJECT_FIT_GPU, &fit->gpus[i]);
        json_end_object(json);
    }
    json_end_array(json);
    json_end_object(json);
}

int vram_fit_json(const struct vram_fit *const *fits, size_t count, char **ret_text)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_array(&json, "answers");
    for (size_t i = 0; i < count; i++) {
        document_fit(&json, NULL, fits[i]);
    }
    json_end_array(&json);
    json_end_object(&json);
    return document_finish(&buf, ret_text);
}
