/* SPDX-License-Identifier: MIT */
/* The most telling name of a process, from command lines as they are met on GPU machines. */
#include "cli/telling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* needs the others before it */

struct example {
    const char *name, *command, *unit, *container;
    const char *expected;
};

static const struct example examples[] = {
    /* Scripts. */
    {"python3", "python3 main.py", NULL, NULL, "main.py"},
    {"python3", "python3 main.py --listen 0.0.0.0", NULL, NULL, "main.py"},
    {"python3.11", "/usr/bin/python3.11 -u -W ignore /srv/whisper/transcribe.py a.wav", NULL, NULL,
     "transcribe.py"},
    {"python", "python /opt/ComfyUI/main.py --port 8188", NULL, NULL, "ComfyUI/main.py"},
    {"python", "python ComfyUI/main.py", NULL, NULL, "ComfyUI/main.py"},
    {"python", "python /main.py", NULL, NULL, "main.py"},
    {"python", "python ./main.py", NULL, NULL, "main.py"},
    {"pt_main_thread", "/venv/bin/python3 -X dev finetune.py", NULL, NULL, "finetune.py"},
    {"vllm", "/usr/bin/python3 /usr/local/bin/vllm serve some/model", NULL, NULL, "vllm"},
    {"node", "node --require ./hook.js tools/gpu.js", NULL, NULL, "gpu.js"},
    {"bash", "/bin/bash /root/render.sh", NULL, NULL, "render.sh"},
    {"perl", "perl -w job.pl", NULL, NULL, "job.pl"},
    /* Modules and jars. */
    {"python3", "python3 -m vllm.entrypoints.openai.api_server --model m", NULL, NULL,
     "vllm.entrypoints.openai.api_server"},
    {"python3", "python3 -u -m torch.distributed.run train.py", NULL, NULL,
     "torch.distributed.run"},
    {"java", "java -Xmx4g -cp a.jar:b.jar -jar /opt/server.jar", NULL, NULL, "server.jar"},
    /* Names that the kernel cut. */
    {"text-generation", "/usr/bin/text-generation-launcher --port 80", NULL, NULL,
     "text-generation-launcher"},
    {"VLLM::EngineCor", "VLLM::EngineCore", NULL, NULL, "VLLM::EngineCore"},
    {"fifteen_letters", "/usr/bin/other-program", NULL, NULL, "fifteen_letters"},
    /* Programs as they are. */
    {"Xorg", "/usr/lib/xorg/Xorg :0 -seat seat0", NULL, NULL, "Xorg"},
    {"ollama", "/usr/bin/ollama runner --model m", "ollama.service", NULL, "ollama"},
    {"pythonic", "/usr/bin/pythonic main.py", NULL, NULL, "pythonic"},
    {"shell", "shell main.sh", NULL, NULL, "shell"},
    /* Interpreters that do not say what they run, and processes that cannot be seen. */
    {"python3", "python3", NULL, NULL, "python3"},
    {"python3", "python3 -c pass", NULL, NULL, "python3"},
    {"python3", "python3 -c pass", "trainer.service", NULL, "trainer.service"},
    {"python3", "python3 -", "session-2.scope", "0123456789abcdef0123", "0123456789ab"},
    {"python3", NULL, NULL, NULL, "python3"},
    {"python3", NULL, "trainer.service", NULL, "trainer.service"},
    {"pid_4242", NULL, NULL, NULL, "pid_4242"},
    {"pid_4242", NULL, "whisper.service", NULL, "whisper.service"},
    {"pid_4242", NULL, NULL, "0123456789abcdef0123", "0123456789ab"},
    /* Command lines that mean to confuse. */
    {"python3", "", NULL, NULL, "python3"},
    {"python3", "    ", NULL, NULL, "python3"},
    {"python3", "python3 -m", NULL, NULL, "python3"},
    {"python3", "python3 -W", NULL, NULL, "python3"},
    {"python3", "python3 /", NULL, NULL, "/"},
    {"python3", "python3 //", NULL, NULL, "/"},
    {"", "", NULL, NULL, ""},
};

static void test_telling__name(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(examples); i++) {
        const struct example *example = &examples[i];
        struct vram_process process = {
            .pid = 4242,
            .name = example->name,
            .command = example->command,
            .unit = example->unit,
            .container = example->container,
        };
        struct buf name = BUF_INIT;
        telling_name(&name, &process);
        buf_add(&name, "", 0);
        assert_string_equal(name.data, example->expected);
        buf_done(&name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_telling__name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
