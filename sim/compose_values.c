/* SPDX-License-Identifier: MIT */
/* The keys of GPUs that are one number each. */
#include "sim/compose_inner.h"

#include "sim/setting.h"
#include <string.h>

#define LINE_LENGTH 150

/* Where a key's value is told: a number of an answer, unless it is `usual` or the same as the key `as` has. */
struct key_source {
    const char *key;
    enum function function;
    uint8_t argument, number;
    uint64_t usual;
    const char *as;
};

#define F(name) FUNCTION_nvmlDevice##name

static const struct key_source sources[] = {
    {"arch", F(GetArchitecture), 0, 0, WORLD_UNKNOWN, NULL},
    {"brand", F(GetBrand), 0, 0, WORLD_UNKNOWN, NULL},
    {"numa", F(GetNumaNodeId), 0, 0, WORLD_UNKNOWN, NULL},
    {"addressing", F(GetAddressingMode), 0, 0, WORLD_UNKNOWN, NULL},
    {"bar1", F(GetBAR1MemoryInfo), 0, 0, WORLD_UNKNOWN, NULL},
    {"bar1-used", F(GetBAR1MemoryInfo), 0, 2, WORLD_UNKNOWN, NULL},
    {"persistence", F(GetPersistenceMode), 0, 0, 0, NULL},
    {"compute-mode", F(GetComputeMode), 0, 0, 0, NULL},
    {"virtualization", F(GetVirtualizationMode), 0, 0, 0, NULL},
    {"display", F(GetDisplayMode), 0, 0, 0, NULL},
    {"display-active", F(GetDisplayActive), 0, 0, WORLD_UNKNOWN, "display"},
    {"ecc", F(GetEccMode), 0, 0, WORLD_UNKNOWN, NULL},
    {"ecc-pending", F(GetEccMode), 0, 1, WORLD_UNKNOWN, "ecc"},
    {"ecc-corrected", F(GetTotalEccErrors), 0, 0, 0, NULL},
    {"ecc-uncorrected", F(GetTotalEccErrors), 2, 0, 0, NULL},
    {"ecc-corrected-ever", F(GetTotalEccErrors), 1, 0, WORLD_UNKNOWN, "ecc-corrected"},
    {"ecc-uncorrected-ever", F(GetTotalEccErrors), 3, 0, WORLD_UNKNOWN, "ecc-uncorrected"},
    {"remapped-corrected", F(GetRemappedRows), 0, 0, 0, NULL},
    {"remapped-uncorrected", F(GetRemappedRows), 0, 1, 0, NULL},
    {"remapped-pending", F(GetRemappedRows), 0, 2, 0, NULL},
    {"remapped-failed", F(GetRemappedRows), 0, 3, 0, NULL},
    {"recovery", F(GetFieldValues), 2, 1, 0, NULL},
    {"mig", F(GetMigMode), 0, 0, WORLD_UNKNOWN, NULL},
    {"mig-pending", F(GetMigMode), 0, 1, WORLD_UNKNOWN, "mig"},
    {"mig-places", F(GetMaxMigDeviceCount), 0, 0, WORLD_UNKNOWN, NULL},
    {"accounting", F(GetAccountingMode), 0, 0, 0, NULL},
    {"accounting-room", F(GetAccountingBufferSize), 0, 0, 4000, NULL},
    {"event-types", F(GetSupportedEventTypes), 0, 0, WORLD_UNKNOWN, NULL},
    {"power-limit", F(GetEnforcedPowerLimit), 0, 0, WORLD_UNKNOWN, NULL},
    {"power-limit-set", F(GetPowerManagementLimit), 0, 0, WORLD_UNKNOWN, "power-limit"},
    {"power-limit-default", F(GetPowerManagementDefaultLimit), 0, 0, WORLD_UNKNOWN, "power-limit"},
    {"temp-shutdown", F(GetTemperatureThreshold), 0, 0, WORLD_UNKNOWN, NULL},
    {"temp-slowdown", F(GetTemperatureThreshold), 1, 0, WORLD_UNKNOWN, NULL},
    {"memory-temp-max", F(GetTemperatureThreshold), 2, 0, WORLD_UNKNOWN, NULL},
    {"temp-max", F(GetTemperatureThreshold), 3, 0, WORLD_UNKNOWN, NULL},
    {"acoustic-temp-min", F(GetTemperatureThreshold), 4, 0, WORLD_UNKNOWN, NULL},
    {"acoustic-temp", F(GetTemperatureThreshold), 5, 0, WORLD_UNKNOWN, NULL},
    {"acoustic-temp-max", F(GetTemperatureThreshold), 6, 0, WORLD_UNKNOWN, NULL},
    {"gps-temp", F(GetTemperatureThreshold), 7, 0, WORLD_UNKNOWN, NULL},
    {"max-clock", F(GetMaxClockInfo), 0, 0, WORLD_UNKNOWN, NULL},
    {"max-sm-clock", F(GetMaxClockInfo), 1, 0, WORLD_UNKNOWN, NULL},
    {"max-memory-clock", F(GetMaxClockInfo), 2, 0, WORLD_UNKNOWN, NULL},
    {"max-video-clock", F(GetMaxClockInfo), 3, 0, WORLD_UNKNOWN, NULL},
    {"pcie-gen", F(GetCurrPcieLinkGeneration), 0, 0, WORLD_UNKNOWN, NULL},
    {"pcie-width", F(GetCurrPcieLinkWidth), 0, 0, WORLD_UNKNOWN, NULL},
    {"pcie-max-gen", F(GetMaxPcieLinkGeneration), 0, 0, WORLD_UNKNOWN, NULL},
    {"pcie-max-width", F(GetMaxPcieLinkWidth), 0, 0, WORLD_UNKNOWN, NULL},
    {"pcie-tx", F(GetPcieThroughput), 0, 0, WORLD_UNKNOWN, NULL},
    {"pcie-rx", F(GetPcieThroughput), 1, 0, WORLD_UNKNOWN, NULL},
    {"encoder-period", F(GetEncoderUtilization), 0, 1, 167000, NULL},
    {"decoder-period", F(GetDecoderUtilization), 0, 1, 167000, NULL},
    {"memory-temp", F(GetFieldValues), 0, 1, WORLD_UNKNOWN, NULL},
    {"temp", F(GetTemperature), 0, 0, WORLD_UNKNOWN, NULL},
    {"util", F(GetUtilizationRates), 0, 0, WORLD_UNKNOWN, NULL},
    {"memory-util", F(GetUtilizationRates), 0, 1, WORLD_UNKNOWN, NULL},
    {"encoder", F(GetEncoderUtilization), 0, 0, WORLD_UNKNOWN, NULL},
    {"decoder", F(GetDecoderUtilization), 0, 0, WORLD_UNKNOWN, NULL},
    {"power", F(GetPowerUsage), 0, 0, WORLD_UNKNOWN, NULL},
    {"energy", F(GetTotalEnergyConsumption), 0, 0, WORLD_UNKNOWN, NULL},
    {"fan", F(GetFanSpeed), 0, 0, WORLD_UNKNOWN, NULL},
    {"pstate", F(GetPerformanceState), 0, 0, WORLD_UNKNOWN, NULL},
    {"clock", F(GetClockInfo), 0, 0, WORLD_UNKNOWN, NULL},
    {"sm-clock", F(GetClockInfo), 1, 0, WORLD_UNKNOWN, NULL},
    {"memory-clock", F(GetClockInfo), 2, 0, WORLD_UNKNOWN, NULL},
    {"video-clock", F(GetClockInfo), 3, 0, WORLD_UNKNOWN, NULL},
};
_Static_assert(ARRAY_LENGTH(sources) <= COMPOSE_KEYS, "room for every key's value");

/* False: not asked in this reading. */
static bool value_in(const struct reading *reading, int gpu, const struct key_source *source,
                     uint64_t *ret_value)
{
    const struct answer *answer =
        reading_find(reading, source->function, gpu, -1, source->argument);
    if (!answer) {
        return false;
    }
    bool field = source->function == FUNCTION_nvmlDeviceGetFieldValues;
    bool told = answer->code == NVML_SUCCESS && source->number < answer->count &&
                !(field && answer->numbers[0]);
    *ret_value = told ? answer->numbers[source->number] : WORLD_UNKNOWN;
    return true;
}

/* What the key has where the scenario does not say. */
static uint64_t usual_of(const struct composer *composer, int gpu, const struct key_source *source)
{
    for (size_t i = 0; source->as && i < ARRAY_LENGTH(sources); i++) {
        if (strcmp(sources[i].key, source->as) == 0) {
            return composer->values[gpu][i];
        }
    }
    return source->usual;
}

/* Ends a line that is long enough, and begins the next alike. */
static void wrap(struct buf *buf, size_t *start, const char *beginning)
{
    if (buf->length - *start > LINE_LENGTH) {
        buf_char(buf, '\n');
        *start = buf->length;
        buf_text(buf, beginning);
    }
}

/* Takes back a line that says nothing. */
static void end_line(struct buf *buf, size_t start, size_t empty)
{
    if (buf->length == empty && buf->data) {
        buf->length = start;
        buf->data[start] = '\0';
    } else {
        buf_char(buf, '\n');
    }
}

void compose_values(struct composer *composer, const struct reading *reading, int gpu,
                    const char *beginning)
{
    struct buf *buf = &composer->text;
    size_t start = buf->length;
    buf_text(buf, beginning);
    size_t empty = buf->length;
    for (size_t i = 0; i < ARRAY_LENGTH(sources); i++) {
        uint64_t value = WORLD_UNKNOWN;
        (void)value_in(reading, gpu, &sources[i], &value);
        composer->values[gpu][i] = value;
        if (value != WORLD_UNKNOWN && value != usual_of(composer, gpu, &sources[i])) {
            wrap(buf, &start, beginning);
            (void)gpu_print(buf, sources[i].key, value);
        }
    }
    end_line(buf, start, empty);
}

void compose_changed_values(struct composer *composer, const struct reading *reading, int gpu,
                            const char *beginning)
{
    struct buf *buf = &composer->changes;
    size_t start = buf->length, empty;
    buf_text(buf, beginning);
    empty = buf->length;
    for (size_t i = 0; i < ARRAY_LENGTH(sources); i++) {
        uint64_t value;
        if (!value_in(reading, gpu, &sources[i], &value) || value == composer->values[gpu][i]) {
            continue;
        }
        composer->values[gpu][i] = value;
        wrap(buf, &start, beginning);
        (void)gpu_print(buf, sources[i].key, value);
    }
    end_line(buf, start, empty);
}
