/* SPDX-License-Identifier: MIT */
/* The driver's answers on a machine that behaves: start, devices, memory, lists, MIG, accounting, events. */
#include "tests/sim/rig.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define CARD "gpu 0 total=24564M reserved=400M "

/* ---- Start and end ----------------------------------------------------------------------------- */

static void test_driver__counts_its_starts(void **state)
{
    (void)state;
    struct rig *rig = rig_load("r550");
    uint32_t count;
    assert_int_equal(rig->select(rig_write("driver 550.54.14\n" CARD "\n")), 0);
    assert_int_equal(rig->nvmlDeviceGetCount_v2(&count), NVML_UNINITIALIZED);
    assert_int_equal(rig->nvmlShutdown(), NVML_UNINITIALIZED);
    assert_int_equal(rig->nvmlInit_v2(), NVML_SUCCESS);
    assert_int_equal(rig->nvmlInitWithFlags(1), NVML_SUCCESS);
    assert_int_equal(rig->nvmlShutdown(), NVML_SUCCESS);
    assert_int_equal(rig->nvmlDeviceGetCount_v2(&count), NVML_SUCCESS);
    assert_int_equal(rig->nvmlShutdown(), NVML_SUCCESS);
    assert_int_equal(rig->nvmlShutdown(), NVML_UNINITIALIZED);
    rig_close(rig);
}

static void test_driver__forgets_handles_with_a_shutdown(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "\n");
    nvml_device old = rig_device(rig, 0);
    char name[NVML_NAME_SIZE];
    assert_int_equal(rig->nvmlShutdown(), NVML_SUCCESS);
    assert_int_equal(rig->nvmlInit_v2(), NVML_SUCCESS);
    assert_int_equal(rig->nvmlDeviceGetName(old, name, sizeof(name)), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetName(rig_device(rig, 0), name, sizeof(name)), NVML_SUCCESS);
    rig_close(rig);
}

static void test_driver__fails_the_old_start_where_a_gpu_is_lost(void **state)
{
    (void)state;
    struct rig *rig = rig_load("r550");
    assert_int_equal(rig->select(rig_write("driver 550.54.14\n" CARD "\ngpu 1 total=8G lost\n")),
                     0);
    assert_int_equal(rig->nvmlInit(), NVML_GPU_IS_LOST);
    assert_int_equal(rig->nvmlInit_v2(), NVML_SUCCESS);
    rig_close(rig);
}

static void test_driver__is_one_machine_at_a_time(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "\n");
    assert_int_equal(rig->select(rig->spec), 0); /* the same again */
    assert_int_equal(rig->select("2x3090"), -EBUSY);
    assert_non_null(strstr(rig->error(), "uses the simulated machine"));
    assert_int_equal(rig->nvmlShutdown(), NVML_SUCCESS);
    assert_int_equal(rig->select("2x3090"), 0);
    assert_int_equal(rig->select("no-such-machine"), -ENOENT);
    assert_non_null(strstr(rig->error(), "no profile 'no-such-machine'"));
    rig_close(rig);
}

static void test_driver__says_what_is_wrong_with_a_scenario(void **state)
{
    (void)state;
    struct rig *rig = rig_load("r550");
    assert_int_equal(rig->select(rig_write("driver 550.54.14\n" CARD "\n\ngpu 0 colour=blue\n")),
                     -EINVAL);
    assert_non_null(strstr(rig->error(), ".scenario:4: unknown word 'colour='"));
    assert_int_equal(rig->nvmlInit_v2(), NVML_SUCCESS); /* without a choice: the default */
    rig_close(rig);
}

/* ---- Devices ----------------------------------------------------------------------------------- */

static void test_driver__finds_devices_in_every_way(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "uuid=GPU-aaaa pci=0000:01:00.0\n"
                                    "gpu 1 total=8G uuid=GPU-bbbb pci=000f:c1:00.0 serial=0042\n");
    nvml_device device, second = rig_device(rig, 1);
    struct nvml_pci pci;
    char text[NVML_UUID_SIZE];
    assert_int_equal(rig->nvmlDeviceGetHandleByUUID("GPU-bbbb", &device), NVML_SUCCESS);
    assert_ptr_equal(device, second);
    assert_int_equal(rig->nvmlDeviceGetHandleByUUID("GPU-cccc", &device), NVML_NOT_FOUND);
    assert_int_equal(rig->nvmlDeviceGetHandleByPciBusId_v2("0000000F:C1:00.0", &device),
                     NVML_SUCCESS);
    assert_ptr_equal(device, second);
    assert_int_equal(rig->nvmlDeviceGetHandleByPciBusId_v2("c1:00.0", &device), NVML_NOT_FOUND);
    assert_int_equal(rig->nvmlDeviceGetHandleByPciBusId_v2("01:00.0", &device), NVML_SUCCESS);
    assert_ptr_equal(device, rig_device(rig, 0));
    assert_int_equal(rig->nvmlDeviceGetHandleByPciBusId_v2("x", &device), NVML_NOT_FOUND);
    assert_int_equal(rig->nvmlDeviceGetHandleByIndex_v2(2, &device), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetPciInfo_v3(second, &pci), NVML_SUCCESS);
    assert_string_equal(pci.bus_id, "0000000F:C1:00.0");
    assert_string_equal(pci.bus_id_legacy, "000F:C1:00.0");
    assert_int_equal(pci.domain, 15);
    assert_int_equal(rig->nvmlDeviceGetSerial(second, text, sizeof(text)), NVML_SUCCESS);
    assert_string_equal(text, "0042");
    assert_int_equal(rig->nvmlDeviceGetSerial(rig_device(rig, 0), text, sizeof(text)),
                     NVML_NOT_SUPPORTED);
    rig_close(rig);
}

static void test_driver__writes_no_more_than_an_old_client_has_room_for(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "pci=0000:01:00.0\n");
    struct nvml_pci pci;
    memset(&pci, 0xA5, sizeof(pci));
    assert_int_equal(rig->nvmlDeviceGetPciInfo_v2(rig_device(rig, 0), &pci), NVML_SUCCESS);
    assert_int_equal(pci.bus, 1);
    for (size_t i = 0; i < sizeof(pci.bus_id); i++) {
        assert_int_equal((unsigned char)pci.bus_id[i], 0xA5);
    }
    rig_close(rig);
}

static void test_driver__counts_and_denies_closed_gpus_as_nvml_does(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "denied\ngpu 1 total=8G uuid=GPU-bbbb\n");
    nvml_device device;
    uint32_t count;
    assert_int_equal(rig->nvmlDeviceGetCount_v2(&count), NVML_SUCCESS);
    assert_int_equal(count, 2);
    assert_int_equal(rig->nvmlDeviceGetCount(&count), NVML_SUCCESS);
    assert_int_equal(count, 1);
    assert_int_equal(rig->nvmlDeviceGetHandleByIndex_v2(0, &device), NVML_NO_PERMISSION);
    assert_int_equal(rig->nvmlDeviceGetHandleByIndex(0, &device), NVML_SUCCESS);
    assert_ptr_equal(device, rig_device(rig, 1));
    assert_int_equal(rig->nvmlDeviceGetHandleByIndex(1, &device), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetHandleByUUID("GPU-bbbb", &device), NVML_SUCCESS);
    rig_close(rig);
}

static void test_driver__loses_and_regains_a_gpu(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play(CARD "uuid=GPU-aaaa pci=01:00.0\ngpu 1 total=8G uuid=GPU-bbbb pci=02:00.0\n");
    nvml_device first = rig_device(rig, 0), device;
    struct nvml_memory_v1 memory;
    rig_inject(rig->spec, "gpu 0 lost");
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo(first, &memory), NVML_GPU_IS_LOST);
    assert_int_equal(rig->nvmlDeviceGetHandleByIndex_v2(0, &device), NVML_GPU_IS_LOST);
    /* Looking a UUID up opens those before it; an address opens one GPU alone. */
    assert_int_equal(rig->nvmlDeviceGetHandleByUUID("GPU-bbbb", &device), NVML_GPU_IS_LOST);
    assert_int_equal(rig->nvmlDeviceGetHandleByPciBusId_v2("02:00.0", &device), NVML_SUCCESS);
    rig_inject(rig->spec, "gpu 0 back");
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo(first, &memory), NVML_SUCCESS);
    rig_close(rig);
}

/* ---- Memory ------------------------------------------------------------------------------------ */

static void test_driver__adds_memory_up(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play(CARD "overhead=64M managed=2G bar1=256M bar1-used=10M\n"
                      "proc 0 pid=4200001 mem=310M type=G\nproc 0 pid=4200002 mem=1010M type=CG\n"
                      "proc 0 pid=4200003 mem=unknown\n");
    nvml_device device = rig_device(rig, 0);
    struct nvml_memory_v2 v2 = rig_memory(rig, device);
    struct nvml_memory_v1 v1;
    struct nvml_bar1 bar1;
    assert_int_equal(v2.used, (64 + 2048 + 310 + 1010) * MIB);
    assert_int_equal(v2.reserved, 400 * MIB);
    assert_int_equal(v2.total, v2.reserved + v2.used + v2.free);
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo(device, &v1), NVML_SUCCESS);
    assert_int_equal(v1.used, v2.used + v2.reserved);
    assert_int_equal(v1.total, v1.used + v1.free);
    assert_int_equal(rig->nvmlDeviceGetBAR1MemoryInfo(device, &bar1), NVML_SUCCESS);
    assert_int_equal(bar1.free, 246 * MIB);
    rig_close(rig);
}

static void test_driver__never_contradicts_itself_when_overfull(void **state)
{
    (void)state;
    struct rig *rig = rig_play("gpu 0 total=8G reserved=1G\nproc 0 pid=4200001 mem=20G\n");
    struct nvml_memory_v2 memory = rig_memory(rig, rig_device(rig, 0));
    assert_int_equal(memory.free, 0);
    assert_int_equal(memory.used, 7 * GIB);
    rig_close(rig);
}

static void test_driver__refuses_a_bare_version(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "\n");
    static const uint32_t wrong[] = {0, 1, 2, 0x02000027, 0x01000028, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct nvml_memory_v2 memory = {.version = wrong[i]};
        assert_int_equal(rig->nvmlDeviceGetMemoryInfo_v2(rig_device(rig, 0), &memory),
                         NVML_FUNCTION_NOT_FOUND);
    }
    rig_close(rig);
}

static void test_driver__has_no_memory_where_it_is_the_machines(void **state)
{
    (void)state;
    struct rig *rig = rig_play("gpu 0 memory=unsupported\nproc 0 pid=4200001 mem=512M\n");
    nvml_device device = rig_device(rig, 0);
    struct nvml_memory_v2 v2 = {.version = NVML_MEMORY_V2};
    struct nvml_memory_v1 v1;
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo_v2(device, &v2), NVML_NOT_SUPPORTED);
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo(device, &v1), NVML_NOT_SUPPORTED);
    assert_int_equal(rig_listed(rig, device, 4200001), 512);
    rig_close(rig);
}

static void test_driver__survives_null_and_garbage(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "temp=41 cc=89\n");
    nvml_device device = rig_device(rig, 0);
    nvml_device garbage[] = {NULL, (nvml_device)(uintptr_t)1, (nvml_device)(uintptr_t)UINT64_MAX,
                             (nvml_device)((uintptr_t)device + 0x100)};
    struct nvml_memory_v1 memory;
    uint32_t count = 1;
    for (size_t i = 0; i < ARRAY_LENGTH(garbage); i++) {
        assert_int_equal(rig->nvmlDeviceGetMemoryInfo(garbage[i], &memory), NVML_INVALID_ARGUMENT);
    }
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo(device, NULL), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo_v2(device, NULL), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetName(device, NULL, 64), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetCount_v2(NULL), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetHandleByIndex_v2(0, NULL), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetHandleByUUID(NULL, &device), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetHandleByPciBusId_v2(NULL, &device), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses(device, NULL, NULL),
                     NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses(device, &count, NULL),
                     NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetTemperature(device, 0, NULL), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetTemperatureV == NULL, true);
    assert_int_equal(rig->nvmlDeviceGetCudaComputeCapability(device, NULL, NULL),
                     NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetRunningProcessDetailList(device, NULL),
                     NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlEventSetFree(NULL), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlSystemGetProcessName(1, NULL, 0), NVML_INVALID_ARGUMENT);
    assert_string_equal(rig->nvmlErrorString(15), "GPU is lost");
    assert_non_null(rig->nvmlErrorString(4711));
    rig_close(rig);
}

/* ---- Lists ------------------------------------------------------------------------------------- */

static void test_driver__tells_how_long_a_list_is(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play(CARD "\nproc 0 pid=4200001 mem=1G\nproc 0 pid=4200002 mem=2G type=CG\n");
    nvml_device device = rig_device(rig, 0);
    struct nvml_process_16 entries[2];
    uint32_t count = 0;
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses(device, &count, NULL),
                     NVML_INSUFFICIENT_SIZE);
    assert_int_equal(count, 2);
    count = 1;
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses(device, &count, entries),
                     NVML_INSUFFICIENT_SIZE);
    assert_int_equal(count, 2);
    count = 0;
    assert_int_equal(rig->nvmlDeviceGetMPSComputeRunningProcesses(device, &count, NULL),
                     NVML_SUCCESS);
    assert_int_equal(count, 0);
    count = 2;
    assert_int_equal(rig->nvmlDeviceGetGraphicsRunningProcesses(device, &count, entries),
                     NVML_SUCCESS);
    assert_int_equal(count, 1);
    assert_int_equal(entries[0].pid, 4200002);
    assert_int_equal(entries[0].used_bytes, 2 * GIB); /* the same in both lists */
    rig_close(rig);
}

static void test_driver__stops_lists_at_950(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "\ngrow 0 by=1000 mem=1K times=1\n");
    uint32_t count = 0;
    nvml_device device = rig_device(rig, 0);
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses(device, &count, NULL), NVML_SUCCESS);
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses(device, &count, NULL),
                     NVML_INSUFFICIENT_SIZE);
    assert_int_equal(count, 950);
    rig_close(rig);
}

static void test_driver__hides_what_it_does_not_know(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play("gpu 0 total=12G process-memory=unknown events=off\nproc 0 pid=4200001 mem=2G\n"
                 "gpu 1 total=12G\nproc 1 pid=4200002 mem=unknown\n");
    struct nvml_process_16 entry;
    uint32_t count = 1;
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses(rig_device(rig, 0), &count, &entry),
                     NVML_SUCCESS);
    assert_true(entry.used_bytes == NVML_NOT_AVAILABLE);
    assert_int_equal(rig_used(rig, 0), 2048);
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses(rig_device(rig, 1), &count, &entry),
                     NVML_SUCCESS);
    assert_true(entry.used_bytes == NVML_NOT_AVAILABLE);
    assert_int_equal(rig_used(rig, 1), 0);
    rig_close(rig);
}

static void test_driver__names_processes(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play(CARD "\nproc 0 pid=4200001 mem=1G name=/usr/bin/ollama\nproc 0 pid=$SELF mem=1G\n"
                      "proc 0 pid=$PARENT mem=2G\n");
    char name[256];
    assert_int_equal(rig->nvmlSystemGetProcessName(4200001, name, sizeof(name)), NVML_SUCCESS);
    assert_string_equal(name, "/usr/bin/ollama");
    assert_int_equal(rig->nvmlSystemGetProcessName(4200001, name, 5), NVML_SUCCESS);
    assert_string_equal(name, "/usr");
    assert_int_equal(rig->nvmlSystemGetProcessName((uint32_t)getpid(), name, sizeof(name)),
                     NVML_SUCCESS);
    assert_non_null(strstr(name, "sim_driver"));
    assert_int_equal(rig->nvmlSystemGetProcessName(4200009, name, sizeof(name)), NVML_NOT_FOUND);
    assert_int_equal(rig_listed(rig, rig_device(rig, 0), (uint32_t)getpid()), 1024);
    assert_int_equal(rig_listed(rig, rig_device(rig, 0), (uint32_t)getppid()), 2048);
    rig_close(rig);
}

static void test_driver__samples_utilization(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "\nproc 0 pid=4200001 mem=1G util=62\n");
    nvml_device device = rig_device(rig, 0);
    struct nvml_process_utilization samples[100];
    struct nvml_processes_utilization newer = {.version = NVML_PROCESSES_UTILIZATION_V1};
    uint32_t count = 0;
    assert_int_equal(rig->nvmlDeviceGetProcessUtilization(device, NULL, &count, 0),
                     NVML_INSUFFICIENT_SIZE);
    assert_int_equal(count, 100);
    assert_int_equal(rig->nvmlDeviceGetProcessUtilization(device, samples, &count, 0),
                     NVML_SUCCESS);
    assert_int_equal(count, 1);
    assert_int_equal(samples[0].sm, 62);
    assert_int_equal(rig->nvmlDeviceGetProcessUtilization(device, samples, &count, UINT64_MAX),
                     NVML_NOT_FOUND);
    assert_int_equal(rig->nvmlDeviceGetProcessesUtilizationInfo(device, &newer),
                     NVML_INSUFFICIENT_SIZE);
    rig_close(rig);
}

/* ---- Readings ---------------------------------------------------------------------------------- */

static void test_driver__reads_what_a_card_has(void **state)
{
    (void)state;
    struct rig *rig = rig_open(
        "r570", rig_write("driver 570.86.15\ncuda 12.8\n" CARD
                          "temp=41 util=3 memory-util=1 power=28 clock=210 memory-temp=60\n"
                          "gpu 1 total=8G\n"));
    nvml_device card = rig_device(rig, 0), bare = rig_device(rig, 1);
    struct nvml_temperature_v1 temperature = {.version = NVML_TEMPERATURE_V1};
    struct nvml_field_value fields[] = {{.field = NVML_FIELD_MEMORY_TEMPERATURE}, {.field = 1}};
    struct nvml_utilization rates;
    uint32_t number;
    int cuda;
    assert_int_equal(rig->nvmlDeviceGetTemperatureV(card, &temperature), NVML_SUCCESS);
    assert_int_equal(temperature.celsius, 41);
    assert_int_equal(rig->nvmlDeviceGetTemperature(card, 0, &number), NVML_SUCCESS);
    assert_int_equal(number, 41);
    assert_int_equal(rig->nvmlDeviceGetTemperature(card, 1, &number), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetTemperature(bare, 0, &number), NVML_NOT_SUPPORTED);
    assert_int_equal(rig->nvmlDeviceGetUtilizationRates(card, &rates), NVML_SUCCESS);
    assert_int_equal(rates.gpu * 100 + rates.memory, 301);
    assert_int_equal(rig->nvmlDeviceGetPowerUsage(card, &number), NVML_SUCCESS);
    assert_int_equal(number, 28000);
    assert_int_equal(rig->nvmlDeviceGetClockInfo(card, 0, &number), NVML_SUCCESS);
    assert_int_equal(number, 210);
    assert_int_equal(rig->nvmlDeviceGetClockInfo(card, 9, &number), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetFanSpeed(card, &number), NVML_NOT_SUPPORTED);
    assert_int_equal(rig->nvmlDeviceGetFieldValues(card, 2, fields), NVML_SUCCESS);
    assert_int_equal(fields[0].code, NVML_SUCCESS);
    assert_int_equal(fields[0].value.u32, 60);
    assert_int_equal(fields[1].code, NVML_NOT_SUPPORTED);
    assert_int_equal(rig->nvmlSystemGetCudaDriverVersion(&cuda), NVML_SUCCESS);
    assert_int_equal(cuda, 12080);
    rig_close(rig);
}

/* ---- MIG --------------------------------------------------------------------------------------- */

#define DIVIDED                                                                                    \
    "gpu 0 total=80G reserved=500M mig=on sms=108\n"                                               \
    "mig 0 gi=1 total=40G reserved=20M uuid=MIG-1111 slices=4 compute-slices=3\n"                  \
    "mig 0 gi=7 total=10G uuid=MIG-7777\nmig 0 gi=8 total=10G uuid=MIG-8888\n"                     \
    "proc 0 gi=1 pid=4200001 mem=8G\nproc 0 gi=8 pid=4200002 mem=1G\nmig 0 gi=7 gone\n"

static void test_driver__divides_a_card(void **state)
{
    (void)state;
    struct rig *rig = rig_play(DIVIDED);
    nvml_device card = rig_device(rig, 0), first, hole, third, parent;
    struct nvml_attributes attributes;
    uint32_t number, pids[16];
    uint64_t used[16];
    assert_int_equal(rig->nvmlDeviceGetMaxMigDeviceCount(card, &number), NVML_SUCCESS);
    assert_int_equal(number, 7);
    assert_int_equal(rig->nvmlDeviceGetMigDeviceHandleByIndex(card, 0, &first), NVML_SUCCESS);
    assert_int_equal(rig->nvmlDeviceGetMigDeviceHandleByIndex(card, 1, &hole), NVML_NOT_FOUND);
    assert_int_equal(rig->nvmlDeviceGetMigDeviceHandleByIndex(card, 2, &third), NVML_SUCCESS);
    assert_int_equal(rig->nvmlDeviceIsMigDeviceHandle(third, &number), NVML_SUCCESS);
    assert_int_equal(number, 1);
    assert_int_equal(rig->nvmlDeviceGetGpuInstanceId(third, &number), NVML_SUCCESS);
    assert_int_equal(number, 8);
    assert_int_equal(rig_memory(rig, first).used, 8 * GIB);
    assert_int_equal(rig_memory(rig, first).free, 32 * GIB - 20 * MIB);
    assert_int_equal(rig_listed(rig, third, 4200002), 1024);
    assert_int_equal(rig_listed(rig, third, 4200001), -1);
    assert_int_equal(rig->nvmlDeviceGetAttributes_v2(first, &attributes), NVML_SUCCESS);
    assert_int_equal(attributes.memory_mib, 40960);
    assert_int_equal(rig->nvmlDeviceGetTemperature(first, 0, &number), NVML_NOT_SUPPORTED);
    assert_int_equal(rig->nvmlDeviceGetDeviceHandleFromMigDeviceHandle(third, &parent),
                     NVML_SUCCESS);
    assert_ptr_equal(parent, card);
    assert_int_equal(rig->nvmlDeviceGetHandleByUUID("MIG-8888", &parent), NVML_SUCCESS);
    assert_ptr_equal(parent, third);
    if (geteuid() == 0) {
        assert_int_equal(rig_memory(rig, card).used, 9 * GIB);
        assert_int_equal(rig_memory(rig, card).reserved, 520 * MIB);
        assert_int_equal(rig_list(rig, card, pids, used), 2);
    }
    rig_close(rig);
}

static void test_driver__ends_handles_with_their_instance(void **state)
{
    (void)state;
    struct rig *rig = rig_play(DIVIDED);
    nvml_device instance, again;
    struct nvml_memory_v1 memory;
    assert_int_equal(rig->nvmlDeviceGetMigDeviceHandleByIndex(rig_device(rig, 0), 2, &instance),
                     NVML_SUCCESS);
    rig_inject(rig->spec, "mig 0 gi=8 gone");
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo(instance, &memory), NVML_INVALID_ARGUMENT);
    rig_inject(rig->spec, "mig 0 gi=5 total=10G");
    rig_inject(rig->spec, "mig 0 gi=6 total=10G");
    assert_int_equal(rig->nvmlDeviceGetMigDeviceHandleByIndex(rig_device(rig, 0), 2, &again),
                     NVML_SUCCESS);
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo(instance, &memory), NVML_INVALID_ARGUMENT);
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo(again, &memory), NVML_SUCCESS);
    rig_close(rig);
}

static void as_nobody(void *data)
{
    struct rig *rig = data;
    struct nvml_memory_v1 memory;
    nvml_device card, instance;
    bool right = setuid(65534) == 0 && rig->nvmlInit_v2() == NVML_SUCCESS &&
                 rig->nvmlDeviceGetHandleByIndex_v2(0, &card) == NVML_SUCCESS &&
                 rig->nvmlDeviceGetMemoryInfo(card, &memory) == NVML_NO_PERMISSION &&
                 rig->nvmlDeviceGetMigDeviceHandleByIndex(card, 0, &instance) == NVML_SUCCESS &&
                 rig->nvmlDeviceGetMemoryInfo(instance, &memory) == NVML_SUCCESS &&
                 rig->nvmlDeviceSetAccountingMode(card, 1) == NVML_NO_PERMISSION;
    fprintf(stderr, "%s", right ? "right" : "wrong");
}

static void test_driver__shows_a_divided_card_to_root_alone(void **state)
{
    (void)state;
    char said[64];
    if (geteuid() != 0) {
        skip(); /* another user is needed to see the difference */
    }
    struct rig *rig = rig_open("r550", "mig");
    (void)rig_in_child(as_nobody, rig, said, sizeof(said));
    assert_string_equal(said, "right");
    rig_close(rig);
}

/* ---- Accounting, events ------------------------------------------------------------------------ */

static void test_driver__accounts_for_the_dead(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play(CARD "accounting=on\nproc 0 pid=4200001 mem=1G util=7\nproc 0 pid=4200002 mem=1G\n"
                      "gpu 1 total=8G\n");
    nvml_device device = rig_device(rig, 0);
    struct nvml_accounting_stats stats;
    uint32_t pids[4], count = 4;
    rig_inject(rig->spec, "proc 0 pid=4200001 mem=5G");
    rig_inject(rig->spec, "proc 0 pid=4200001 mem=2G");
    rig_inject(rig->spec, "exit 4200001");
    assert_int_equal(rig->nvmlDeviceGetAccountingStats(device, 4200001, &stats), NVML_SUCCESS);
    assert_int_equal(stats.peak_bytes, 5 * GIB);
    assert_int_equal(stats.is_running, 0);
    assert_int_equal(stats.gpu_utilization, 7);
    assert_int_equal(rig->nvmlDeviceGetAccountingStats(device, 4200002, &stats), NVML_SUCCESS);
    assert_int_equal(stats.is_running, 1);
    assert_int_equal(stats.time_ms, 0);
    assert_int_equal(rig->nvmlDeviceGetAccountingStats(device, 4200003, &stats), NVML_NOT_FOUND);
    assert_int_equal(rig->nvmlDeviceGetAccountingPids(device, &count, pids), NVML_SUCCESS);
    assert_int_equal(count, 2);
    count = 0;
    assert_int_equal(rig->nvmlDeviceGetAccountingPids(device, &count, NULL),
                     NVML_INSUFFICIENT_SIZE);
    assert_int_equal(count, 2);
    if (geteuid() == 0) {
        assert_int_equal(rig->nvmlDeviceClearAccountingPids(device), NVML_SUCCESS);
        assert_int_equal(rig->nvmlDeviceGetAccountingStats(device, 4200001, &stats),
                         NVML_NOT_FOUND);
    }
    assert_int_equal(rig->nvmlDeviceGetAccountingStats(rig_device(rig, 1), 1, &stats),
                     NVML_NOT_SUPPORTED);
    rig_close(rig);
}

static void test_driver__reports_events_after_their_registration(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "\ngpu 1 total=8G events=off\nevent 0 xid=13\n");
    nvml_device device = rig_device(rig, 0);
    nvml_event_set set;
    struct nvml_event event;
    assert_int_equal(rig->nvmlEventSetCreate(&set), NVML_SUCCESS);
    assert_int_equal(rig->nvmlDeviceRegisterEvents(device, NVML_EVENT_XID, set), NVML_SUCCESS);
    assert_int_equal(rig->nvmlDeviceRegisterEvents(rig_device(rig, 1), NVML_EVENT_XID, set),
                     NVML_NOT_SUPPORTED);
    assert_int_equal(rig->nvmlEventSetWait_v2(set, &event, 0), NVML_TIMEOUT);
    rig_inject(rig->spec, "event 0 mig-change");
    rig_inject(rig->spec, "event 0 xid=119");
    assert_int_equal(rig->nvmlEventSetWait_v2(set, &event, 10000), NVML_SUCCESS);
    assert_ptr_equal(event.device, device);
    assert_int_equal(event.type, NVML_EVENT_XID);
    assert_int_equal(event.data, 119);
    assert_int_equal(event.gpu_instance, NVML_NO_INSTANCE);
    assert_int_equal(rig->nvmlEventSetWait_v2(set, &event, 0), NVML_TIMEOUT);
    rig_inject(rig->spec, "gpu 0 lost xid=79");
    memset(&event, 0xA5, sizeof(event));
    assert_int_equal(rig->nvmlEventSetWait(set, &event, 10000),
                     NVML_SUCCESS); /* 24 bytes, without the ids */
    assert_int_equal(event.data, 79);
    assert_int_equal(event.gpu_instance, 0xA5A5A5A5);
    assert_int_equal(rig->nvmlEventSetWait_v2(set, &event, 10000), NVML_GPU_IS_LOST);
    assert_int_equal(rig->nvmlEventSetFree(set), NVML_SUCCESS);
    assert_int_equal(rig->nvmlEventSetWait_v2(set, &event, 0), NVML_INVALID_ARGUMENT);
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_driver__counts_its_starts),
        TEST(test_driver__forgets_handles_with_a_shutdown),
        TEST(test_driver__fails_the_old_start_where_a_gpu_is_lost),
        TEST(test_driver__is_one_machine_at_a_time),
        TEST(test_driver__says_what_is_wrong_with_a_scenario),
        TEST(test_driver__finds_devices_in_every_way),
        TEST(test_driver__writes_no_more_than_an_old_client_has_room_for),
        TEST(test_driver__counts_and_denies_closed_gpus_as_nvml_does),
        TEST(test_driver__loses_and_regains_a_gpu),
        TEST(test_driver__adds_memory_up),
        TEST(test_driver__never_contradicts_itself_when_overfull),
        TEST(test_driver__refuses_a_bare_version),
        TEST(test_driver__has_no_memory_where_it_is_the_machines),
        TEST(test_driver__survives_null_and_garbage),
        TEST(test_driver__tells_how_long_a_list_is),
        TEST(test_driver__stops_lists_at_950),
        TEST(test_driver__hides_what_it_does_not_know),
        TEST(test_driver__names_processes),
        TEST(test_driver__samples_utilization),
        TEST(test_driver__reads_what_a_card_has),
        TEST(test_driver__divides_a_card),
        TEST(test_driver__ends_handles_with_their_instance),
        TEST(test_driver__shows_a_divided_card_to_root_alone),
        TEST(test_driver__accounts_for_the_dead),
        TEST(test_driver__reports_events_after_their_registration),
    };
    return cmocka_run_group_tests(tests, rig_group_set_up, rig_group_tear_down);
}
