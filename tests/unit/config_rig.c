/* SPDX-License-Identifier: MIT */
#include "tests/unit/config_rig.h"

#include "tests/unit/unit.h"

#include <errno.h>

int rig_parse(const char *text, struct config *ret_config, char problem[CONFIG_PROBLEM_MAX])
{
    problem[0] = '\0';
    return config_parse("x.conf", text, strlen(text), ret_config, problem);
}

void rig_refuses(const char *text, const char *problem)
{
    char said[CONFIG_PROBLEM_MAX];
    struct config config = {.max_leases = 77};
    assert_int_equal(rig_parse(text, &config, said), -EINVAL);
    if (!strstr(said, problem)) {
        assert_string_equal(said, problem);
    }
    assert_int_equal(config.max_leases, 77);
    assert_null(config.gpus);
    assert_null(config.holders);
}
