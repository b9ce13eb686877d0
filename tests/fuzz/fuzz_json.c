/* SPDX-License-Identifier: MIT */
#include "common/json.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/json_check.h"

/* Any bytes become valid JSON. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_text(&json, "text", text);
    json_array(&json, "again");
    json_text(&json, NULL, text);
    json_null(&json, NULL);
    json_end_array(&json);
    json_end_object(&json);
    MUST(!buf.failed && json_check(buf.data, buf.length));
    buf_done(&buf);
    free(text);
    return 0;
}
