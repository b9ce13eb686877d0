/* SPDX-License-Identifier: MIT */
#include "sim/setting.h"

#include "common/size.h"
#include "common/utf8.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum setting_kind {
    SETTING_SIZE,
    SETTING_NUMBER,
    SETTING_THOUSANDTHS, /* a number with up to three decimals */
    SETTING_SWITCH,
    SETTING_CHOICE,
    SETTING_TEXT,
};

struct setting {
    const char *key;
    enum setting_kind kind;
    size_t offset;
    uint64_t most; /* the largest number, or the room of a text */
    const char *const *choices;
};

static const char *const arches[] = {"unknown", "1",      "kepler", "maxwell", "pascal",    "volta",
                                     "turing",  "ampere", "ada",    "hopper",  "blackwell", NULL};
static const char *const brands[] = {"unknown",     "quadro",     "tesla",      "nvs",
                                     "grid",        "geforce",    "titan",      "vapps",
                                     "vpc",         "vcs",        "vws",        "cloud-gaming",
                                     "vgpu",        "quadro-rtx", "nvidia-rtx", "nvidia",
                                     "geforce-rtx", "titan-rtx",  NULL};
static const char *const compute_modes[] = {"default", "exclusive-thread", "prohibited",
                                            "exclusive", NULL};
static const char *const virtualizations[] = {"none",      "passthrough", "vgpu",
                                              "host-vgpu", "host-vsga",   NULL};
static const char *const monitors[] = {"root", "all", NULL};
static const char *const addressings[] = {"none", "hmm", "ats", NULL};
static const char *const memories[] = {"dedicated", "unsupported", NULL};
static const char *const knowledge[] = {"known", "unknown", NULL};

#define MEMORY_SETTINGS(owner)                                                                     \
    {"total", SETTING_SIZE, offsetof(struct owner, memory.total), 0, NULL},                        \
        {"reserved", SETTING_SIZE, offsetof(struct owner, memory.reserved), 0, NULL},              \
        {"overhead", SETTING_SIZE, offsetof(struct owner, memory.overhead), 0, NULL},              \
        {"managed", SETTING_SIZE, offsetof(struct owner, memory.managed), 0, NULL},                \
        {"shared", SETTING_SIZE, offsetof(struct owner, memory.shared), 0, NULL},                  \
        {"name", SETTING_TEXT, offsetof(struct owner, name), WORLD_NAME_MAX, NULL},                \
    {                                                                                              \
        "uuid", SETTING_TEXT, offsetof(struct owner, uuid), WORLD_UUID_MAX, NULL                   \
    }

#define AT(number) offsetof(struct gpu, numbers[NUMBER_##number])

static const struct setting gpu_settings[] = {
    MEMORY_SETTINGS(gpu),
    {"serial", SETTING_TEXT, offsetof(struct gpu, serial), sizeof(((struct gpu *)0)->serial), NULL},
    {"bar1", SETTING_SIZE, AT(BAR1_TOTAL), 0, NULL},
    {"bar1-used", SETTING_SIZE, AT(BAR1_USED), 0, NULL},
    {"minor", SETTING_NUMBER, AT(MINOR), 255, NULL},
    {"numa", SETTING_NUMBER, AT(NUMA), UINT32_MAX, NULL},
    {"temp", SETTING_NUMBER, AT(TEMPERATURE), 250, NULL},
    {"memory-temp", SETTING_NUMBER, AT(MEMORY_TEMPERATURE), 250, NULL},
    {"temp-shutdown", SETTING_NUMBER, AT(TEMPERATURE_SHUTDOWN), 250, NULL},
    {"temp-slowdown", SETTING_NUMBER, AT(TEMPERATURE_SLOWDOWN), 250, NULL},
    {"temp-max", SETTING_NUMBER, AT(TEMPERATURE_MAX), 250, NULL},
    {"memory-temp-max", SETTING_NUMBER, AT(TEMPERATURE_MEMORY_MAX), 250, NULL},
    {"acoustic-temp", SETTING_NUMBER, AT(TEMPERATURE_ACOUSTIC), 250, NULL},
    {"acoustic-temp-min", SETTING_NUMBER, AT(TEMPERATURE_ACOUSTIC_MIN), 250, NULL},
    {"acoustic-temp-max", SETTING_NUMBER, AT(TEMPERATURE_ACOUSTIC_MAX), 250, NULL},
    {"gps-temp", SETTING_NUMBER, AT(TEMPERATURE_GPS), 250, NULL},
    {"util", SETTING_NUMBER, AT(UTILIZATION), 100, NULL},
    {"memory-util", SETTING_NUMBER, AT(MEMORY_UTILIZATION), 100, NULL},
    {"encoder", SETTING_NUMBER, AT(ENCODER), 100, NULL},
    {"decoder", SETTING_NUMBER, AT(DECODER), 100, NULL},
    {"encoder-period", SETTING_NUMBER, AT(ENCODER_PERIOD), UINT32_MAX, NULL},
    {"decoder-period", SETTING_NUMBER, AT(DECODER_PERIOD), UINT32_MAX, NULL},
    {"power", SETTING_THOUSANDTHS, AT(POWER), 10000, NULL},
    {"power-limit", SETTING_THOUSANDTHS, AT(POWER_LIMIT), 10000, NULL},
    {"power-limit-set", SETTING_THOUSANDTHS, AT(POWER_LIMIT_SET), 10000, NULL},
    {"power-limit-default", SETTING_THOUSANDTHS, AT(POWER_LIMIT_DEFAULT), 10000, NULL},
    {"energy", SETTING_NUMBER, AT(ENERGY), UINT64_MAX - 1, NULL},
    {"fan", SETTING_NUMBER, AT(FAN), 100, NULL},
    {"clock", SETTING_NUMBER, AT(CLOCK_GRAPHICS), 100000, NULL},
    {"sm-clock", SETTING_NUMBER, AT(CLOCK_SM), 100000, NULL},
    {"memory-clock", SETTING_NUMBER, AT(CLOCK_MEMORY), 100000, NULL},
    {"video-clock", SETTING_NUMBER, AT(CLOCK_VIDEO), 100000, NULL},
    {"max-clock", SETTING_NUMBER, AT(MAX_CLOCK_GRAPHICS), 100000, NULL},
    {"max-sm-clock", SETTING_NUMBER, AT(MAX_CLOCK_SM), 100000, NULL},
    {"max-memory-clock", SETTING_NUMBER, AT(MAX_CLOCK_MEMORY), 100000, NULL},
    {"max-video-clock", SETTING_NUMBER, AT(MAX_CLOCK_VIDEO), 100000, NULL},
    {"pstate", SETTING_NUMBER, AT(PERFORMANCE_STATE), 15, NULL},
    {"pcie-gen", SETTING_NUMBER, AT(PCIE_GENERATION), 16, NULL},
    {"pcie-width", SETTING_NUMBER, AT(PCIE_WIDTH), 32, NULL},
    {"pcie-max-gen", SETTING_NUMBER, AT(PCIE_MAX_GENERATION), 16, NULL},
    {"pcie-max-width", SETTING_NUMBER, AT(PCIE_MAX_WIDTH), 32, NULL},
    {"pcie-rx", SETTING_NUMBER, AT(PCIE_RX), UINT32_MAX, NULL},
    {"pcie-tx", SETTING_NUMBER, AT(PCIE_TX), UINT32_MAX, NULL},
    {"ecc", SETTING_SWITCH, AT(ECC), 0, NULL},
    {"ecc-corrected", SETTING_NUMBER, AT(ECC_CORRECTED), UINT32_MAX, NULL},
    {"ecc-uncorrected", SETTING_NUMBER, AT(ECC_UNCORRECTED), UINT32_MAX, NULL},
    {"ecc-pending", SETTING_SWITCH, AT(ECC_PENDING), 0, NULL},
    {"ecc-corrected-ever", SETTING_NUMBER, AT(ECC_CORRECTED_EVER), UINT32_MAX, NULL},
    {"ecc-uncorrected-ever", SETTING_NUMBER, AT(ECC_UNCORRECTED_EVER), UINT32_MAX, NULL},
    {"remapped-corrected", SETTING_NUMBER, AT(REMAPPED_CORRECTED), UINT32_MAX, NULL},
    {"remapped-uncorrected", SETTING_NUMBER, AT(REMAPPED_UNCORRECTED), UINT32_MAX, NULL},
    {"remapped-pending", SETTING_NUMBER, AT(REMAPPED_PENDING), UINT32_MAX, NULL},
    {"remapped-failed", SETTING_NUMBER, AT(REMAPPED_FAILED), UINT32_MAX, NULL},
    {"recovery", SETTING_NUMBER, AT(RECOVERY), UINT32_MAX, NULL},
    {"persistence", SETTING_SWITCH, AT(PERSISTENCE), 0, NULL},
    {"display", SETTING_SWITCH, AT(DISPLAY), 0, NULL},
    {"display-active", SETTING_SWITCH, AT(DISPLAY_ACTIVE), 0, NULL},
    {"accounting", SETTING_SWITCH, AT(ACCOUNTING), 0, NULL},
    {"accounting-room", SETTING_NUMBER, AT(ACCOUNTING_ROOM), UINT32_MAX, NULL},
    {"events", SETTING_SWITCH, AT(EVENTS), 0, NULL},
    {"event-types", SETTING_NUMBER, AT(EVENT_TYPES), UINT64_MAX - 1, NULL},
    {"compute-mode", SETTING_CHOICE, AT(COMPUTE_MODE), 0, compute_modes},
    {"virtualization", SETTING_CHOICE, AT(VIRTUALIZATION), 0, virtualizations},
    {"mig", SETTING_SWITCH, AT(MIG), 0, NULL},
    {"mig-pending", SETTING_SWITCH, AT(MIG_PENDING), 0, NULL},
    {"mig-places", SETTING_NUMBER, AT(MIG_PLACES), UINT32_MAX, NULL},
    {"mig-monitor", SETTING_CHOICE, AT(MIG_MONITOR), 0, monitors},
    {"addressing", SETTING_CHOICE, AT(ADDRESSING), 0, addressings},
    {"arch", SETTING_CHOICE, AT(ARCHITECTURE), 0, arches},
    {"brand", SETTING_CHOICE, AT(BRAND), 0, brands},
    {"cc", SETTING_NUMBER, AT(COMPUTE_CAPABILITY), 999, NULL},
    {"sms", SETTING_NUMBER, AT(MULTIPROCESSORS), 10000, NULL},
    {"memory", SETTING_CHOICE, AT(MEMORY_UNSUPPORTED), 0, memories},
    {"process-memory", SETTING_CHOICE, AT(PROCESS_MEMORY_UNKNOWN), 0, knowledge},
};

static const struct setting instance_settings[] = {
    MEMORY_SETTINGS(instance),
};

/* A number that has no name is written as such. */
static int set_choice(const struct setting *setting, const char *text, uint64_t *ret,
                      struct complaint *complaint)
{
    struct complaint ignored;
    int r = value_choice(setting->key, text, setting->choices, ret, complaint);
    return r < 0 && value_number(setting->key, text, UINT32_MAX, ret, &ignored) == 0 ? 0 : r;
}

static int set(const struct setting *setting, void *object, const char *text,
               struct complaint *complaint)
{
    uint64_t value = WORLD_UNKNOWN;
    int r = 0;
    switch (setting->kind) {
    case SETTING_TEXT:
        return value_text(setting->key, text, (char *)object + setting->offset, setting->most,
                          complaint);
    case SETTING_SIZE:
        r = value_size(setting->key, text, &value, complaint);
        break;
    case SETTING_SWITCH:
        r = value_switch(setting->key, text, &value, complaint);
        break;
    case SETTING_CHOICE:
        r = set_choice(setting, text, &value, complaint);
        break;
    case SETTING_THOUSANDTHS:
        if (strcmp(text, "none") != 0) {
            r = value_thousandths(setting->key, text, setting->most, &value, complaint);
        }
        break;
    case SETTING_NUMBER:
        if (strcmp(text, "none") != 0) {
            r = value_number(setting->key, text, setting->most, &value, complaint);
        }
        break;
    }
    if (r == 0) {
        memcpy((char *)object + setting->offset, &value, sizeof(value));
    }
    return r;
}

static int set_by_key(const struct setting *settings, size_t count, void *object, const char *key,
                      const char *text, struct complaint *complaint)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(settings[i].key, key) == 0) {
            return set(&settings[i], object, text, complaint);
        }
    }
    return complain(complaint, "unknown word '%.40s='", key);
}

#define ACCOUNTING_ROOM 4000

void gpu_set_defaults(struct gpu *gpu, uint32_t index)
{
    static const enum number zeroes[] = {
        NUMBER_PERSISTENCE,        NUMBER_DISPLAY,
        NUMBER_COMPUTE_MODE,       NUMBER_VIRTUALIZATION,
        NUMBER_ACCOUNTING,         NUMBER_MIG_MONITOR,
        NUMBER_MEMORY_UNSUPPORTED, NUMBER_PROCESS_MEMORY_UNKNOWN,
    };
    memset(gpu->numbers, 0xFF, sizeof(gpu->numbers)); /* WORLD_UNKNOWN */
    gpu->defined = true;
    gpu->pci_bus = index + 1;
    for (size_t i = 0; i < ARRAY_LENGTH(zeroes); i++) {
        gpu->numbers[zeroes[i]] = 0;
    }
    gpu->numbers[NUMBER_EVENTS] = 1;
    gpu->numbers[NUMBER_MINOR] = index;
    gpu->numbers[NUMBER_ACCOUNTING_ROOM] = ACCOUNTING_ROOM;
    gpu->pci_class = UINT32_MAX;
    (void)snprintf(gpu->name, sizeof(gpu->name), "NVIDIA Simulated GPU");
    (void)snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-51a00000-0000-4000-8000-%012x", index);
}

bool gpu_set_state(struct gpu *gpu, const char *word)
{
    static const struct {
        const char *word;
        size_t offset;
        bool value;
    } states[] = {
        {"lost", offsetof(struct gpu, lost), true},
        {"back", offsetof(struct gpu, lost), false},
        {"denied", offsetof(struct gpu, denied), true},
        {"allowed", offsetof(struct gpu, denied), false},
        {"suspended", offsetof(struct gpu, suspended), true},
        {"awake", offsetof(struct gpu, suspended), false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(states); i++) {
        if (strcmp(word, states[i].word) == 0) {
            memcpy((char *)gpu + states[i].offset, &states[i].value, sizeof(bool));
            return true;
        }
    }
    return false;
}

int gpu_set(struct gpu *gpu, const char *key, const char *text, struct complaint *complaint)
{
    if (strcmp(key, "pci") == 0) {
        struct pci_address pci;
        if (pci_parse(text, &pci) < 0) {
            return complain(complaint, "pci=%.40s is not an address; write it as 0000:01:00.0",
                            text);
        }
        gpu->pci_domain = pci.domain;
        gpu->pci_bus = pci.bus;
        gpu->pci_device = pci.device;
        return 0;
    }
    if (strcmp(key, "pci-id") == 0 || strcmp(key, "pci-subsystem") == 0) {
        unsigned vendor = 0, device = 0;
        if (sscanf(text, "%4x:%4x", &vendor, &device) != 2) {
            return complain(complaint, "%s=%.40s is not VENDOR:DEVICE, as in 10de:2684", key, text);
        }
        uint32_t *id = key[4] == 'i' ? &gpu->pci_id : &gpu->pci_subsystem_id;
        *id = device << 16 | vendor;
        return 0;
    }
    if (strcmp(key, "pci-class") == 0) {
        char rest;
        if (sscanf(text, "%4x%c", &gpu->pci_class, &rest) != 1) {
            return complain(complaint, "pci-class=%.40s is not a class, as in 0302", text);
        }
        return 0;
    }
    return set_by_key(gpu_settings, ARRAY_LENGTH(gpu_settings), gpu, key, text, complaint);
}

int instance_set(struct instance *instance, const char *key, const char *value,
                 struct complaint *complaint)
{
    static const struct {
        const char *key;
        size_t offset;
    } counts[] = {
        {"slices", offsetof(struct instance, gpu_slices)},
        {"compute-slices", offsetof(struct instance, compute_slices)},
        {"sms", offsetof(struct instance, multiprocessors)},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
        uint64_t number;
        if (strcmp(key, counts[i].key) == 0) {
            int r = value_number(key, value, 1000, &number, complaint);
            uint32_t count = (uint32_t)number;
            if (r == 0) {
                memcpy((char *)instance + counts[i].offset, &count, sizeof(count));
            }
            return r;
        }
    }
    return set_by_key(instance_settings, ARRAY_LENGTH(instance_settings), instance, key, value,
                      complaint);
}

/* ---- The other way: values as the language has them --------------------------------------------- */

static void print_value(struct buf *buf, const struct setting *setting, uint64_t value)
{
    size_t names = 0;
    switch (setting->kind) {
    case SETTING_SIZE:
        buf_size(buf, value);
        return;
    case SETTING_THOUSANDTHS:
        buf_format(buf, "%" PRIu64, value / 1000);
        if (value % 1000) {
            buf_format(buf, ".%03u", (unsigned)(value % 1000));
        }
        return;
    case SETTING_SWITCH:
        buf_text(buf, value ? "on" : "off");
        return;
    case SETTING_CHOICE:
        while (setting->choices[names]) {
            names++;
        }
        if (value < names) {
            buf_text(buf, setting->choices[value]);
            return;
        }
        break;
    default:
        break;
    }
    buf_format(buf, "%" PRIu64, value);
}

void buf_size(struct buf *buf, uint64_t bytes)
{
    bool whole = bytes % MIB == 0;
    buf_format(buf, "%" PRIu64 "%s", whole ? bytes / MIB : bytes, !bytes ? "" : whole ? "M" : "B");
}

bool gpu_print(struct buf *buf, const char *key, uint64_t value)
{
    for (size_t i = 0; i < ARRAY_LENGTH(gpu_settings); i++) {
        const struct setting *setting = &gpu_settings[i];
        bool bounded = setting->kind == SETTING_NUMBER || setting->kind == SETTING_THOUSANDTHS;
        uint64_t most = setting->kind == SETTING_THOUSANDTHS ? setting->most * 1000 : setting->most;
        if (strcmp(setting->key, key) != 0) {
            continue;
        }
        if (value == WORLD_UNKNOWN && bounded) {
            buf_format(buf, " %s=none", key);
            return true;
        }
        if ((bounded && value > most) || (setting->kind == SETTING_SWITCH && value > 1)) {
            return false;
        }
        buf_format(buf, " %s=", key);
        print_value(buf, setting, value);
        return true;
    }
    return false;
}

static bool is_utf8(const char *text)
{
    uint32_t character = 0;
    while (*text && character != UTF8_INVALID) {
        text += utf8_next(text, &character);
    }
    return character != UTF8_INVALID;
}

void buf_quoted(struct buf *buf, const char *text, size_t most)
{
    bool clean = is_utf8(text);
    buf_char(buf, '"');
    for (size_t i = 0; text[i] && i < most; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' || c == 0x7F || (c > 0x7F && !clean)) {
            buf_format(buf, "\\x%02x", c);
        } else {
            buf_text(buf, c == '"' || c == '\\' ? "\\" : "");
            buf_char(buf, (char)c);
        }
    }
    buf_char(buf, '"');
}
