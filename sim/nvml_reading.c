/* SPDX-License-Identifier: MIT */
/* Exported functions: sensors, clocks, links and modes. What a scenario does not give, a card does not
 * support. */
#include "sim/answer.h"
#include "sim/generation.h"
#include "sim/session.h"

#include <time.h>

/* ---- One number each --------------------------------------------------------------------------- */

static uint64_t number(const struct call *call, enum number which)
{
    return call_gpu(call)->numbers[which];
}

/* A number that is the same as another where the scenario does not tell it. */
static uint64_t number_or(const struct call *call, enum number which, enum number other)
{
    uint64_t value = number(call, which);
    return value == WORLD_UNKNOWN ? number(call, other) : value;
}

static uint64_t number_or_value(const struct call *call, enum number which, uint64_t other)
{
    uint64_t value = number(call, which);
    return value == WORLD_UNKNOWN ? other : value;
}

#define NUMBER(name, which)                                                                        \
    EXPORT(name, nvml_device device, uint32_t *ret_number)                                         \
    {                                                                                              \
        DEVICE_CALL(name, device, answer_number(number(&call, which), ret_number));                \
    }
#define NUMBER_OR(name, which, other)                                                              \
    EXPORT(name, nvml_device device, uint32_t *ret_number)                                         \
    {                                                                                              \
        DEVICE_CALL(name, device, answer_number(number_or(&call, which, other), ret_number));      \
    }

NUMBER(nvmlDeviceGetFanSpeed, NUMBER_FAN)
NUMBER(nvmlDeviceGetPerformanceState, NUMBER_PERFORMANCE_STATE)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, NUMBER_PCIE_GENERATION)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, NUMBER_PCIE_WIDTH)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, NUMBER_PCIE_MAX_GENERATION)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, NUMBER_PCIE_MAX_WIDTH)
NUMBER(nvmlDeviceGetPersistenceMode, NUMBER_PERSISTENCE)
NUMBER(nvmlDeviceGetComputeMode, NUMBER_COMPUTE_MODE)
NUMBER_OR(nvmlDeviceGetDisplayActive, NUMBER_DISPLAY_ACTIVE, NUMBER_DISPLAY)
NUMBER(nvmlDeviceGetDisplayMode, NUMBER_DISPLAY)
NUMBER(nvmlDeviceGetVirtualizationMode, NUMBER_VIRTUALIZATION)
NUMBER(nvmlDeviceGetPowerUsage, NUMBER_POWER)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, NUMBER_POWER_LIMIT)
NUMBER_OR(nvmlDeviceGetPowerManagementLimit, NUMBER_POWER_LIMIT_SET, NUMBER_POWER_LIMIT)
NUMBER_OR(nvmlDeviceGetPowerManagementDefaultLimit, NUMBER_POWER_LIMIT_DEFAULT, NUMBER_POWER_LIMIT)

EXPORT(nvmlDeviceGetTotalEnergyConsumption, nvml_device device, uint64_t *ret_millijoules)
{
    DEVICE_CALL(nvmlDeviceGetTotalEnergyConsumption, device,
                answer_large(number(&call, NUMBER_ENERGY), ret_millijoules));
}

/* Of Windows; Linux has no such thing. */
static nvml_ret driver_model(const uint32_t *ret_current, const uint32_t *ret_pending)
{
    return ret_current || ret_pending ? NVML_NOT_SUPPORTED : NVML_INVALID_ARGUMENT;
}

EXPORT(nvmlDeviceGetDriverModel, nvml_device device, uint32_t *ret_current, uint32_t *ret_pending)
{
    DEVICE_CALL(nvmlDeviceGetDriverModel, device, driver_model(ret_current, ret_pending));
}

/* ---- Utilization ------------------------------------------------------------------------------- */

/* A divided card has none as a whole, as its instances have none. */
static nvml_ret rates(const struct call *call, struct nvml_utilization *ret_rates)
{
    uint64_t gpu = number(call, NUMBER_UTILIZATION),
             memory = number(call, NUMBER_MEMORY_UTILIZATION);
    if (!ret_rates) {
        return NVML_INVALID_ARGUMENT;
    }
    if (gpu == WORLD_UNKNOWN || number(call, NUMBER_MIG) == 1) {
        return NVML_NOT_SUPPORTED;
    }
    *ret_rates =
        (struct nvml_utilization){(uint32_t)gpu, memory == WORLD_UNKNOWN ? 0 : (uint32_t)memory};
    return NVML_SUCCESS;
}

#define PERIOD_US 167000u

static nvml_ret engine(uint64_t percent, uint64_t period_us, uint32_t *ret_percent,
                       uint32_t *ret_period_us)
{
    nvml_ret code = ret_period_us ? answer_number(percent, ret_percent) : NVML_INVALID_ARGUMENT;
    if (code == NVML_SUCCESS) {
        *ret_period_us = (uint32_t)period_us;
    }
    return code;
}

EXPORT(nvmlDeviceGetUtilizationRates, nvml_device device, struct nvml_utilization *ret_rates)
{
    DEVICE_CALL(nvmlDeviceGetUtilizationRates, device, rates(&call, ret_rates));
}

EXPORT(nvmlDeviceGetEncoderUtilization, nvml_device device, uint32_t *ret_percent,
       uint32_t *ret_period_us)
{
    DEVICE_CALL(nvmlDeviceGetEncoderUtilization, device,
                engine(number(&call, NUMBER_ENCODER),
                       number_or_value(&call, NUMBER_ENCODER_PERIOD, PERIOD_US), ret_percent,
                       ret_period_us));
}

EXPORT(nvmlDeviceGetDecoderUtilization, nvml_device device, uint32_t *ret_percent,
       uint32_t *ret_period_us)
{
    DEVICE_CALL(nvmlDeviceGetDecoderUtilization, device,
                engine(number(&call, NUMBER_DECODER),
                       number_or_value(&call, NUMBER_DECODER_PERIOD, PERIOD_US), ret_percent,
                       ret_period_us));
}

/* ---- Temperature ------------------------------------------------------------------------------- */

static nvml_ret temperature(const struct call *call, uint32_t sensor, uint32_t *ret_celsius)
{
    return sensor == NVML_SENSOR_GPU ? answer_number(number(call, NUMBER_TEMPERATURE), ret_celsius)
                                     : NVML_INVALID_ARGUMENT;
}

static nvml_ret temperature_v(const struct call *call, struct nvml_temperature_v1 *wanted)
{
    uint32_t celsius = 0;
    if (!wanted) {
        return NVML_INVALID_ARGUMENT;
    }
    if (!call_check_version(call, wanted->version, NVML_TEMPERATURE_V1)) {
        return NVML_ARGUMENT_VERSION_MISMATCH;
    }
    nvml_ret code = temperature(call, wanted->sensor, &celsius);
    if (code == NVML_SUCCESS) {
        wanted->celsius = (int32_t)celsius;
    }
    return code;
}

static nvml_ret threshold(const struct call *call, uint32_t which, uint32_t *ret_celsius)
{
    return which < 8
               ? answer_number(number(call, (enum number)(NUMBER_TEMPERATURE_SHUTDOWN + which)),
                               ret_celsius)
               : NVML_INVALID_ARGUMENT;
}

EXPORT(nvmlDeviceGetTemperature, nvml_device device, uint32_t sensor, uint32_t *ret_celsius)
{
    DEVICE_CALL(nvmlDeviceGetTemperature, device, temperature(&call, sensor, ret_celsius));
}

EXPORT(nvmlDeviceGetTemperatureV, nvml_device device, struct nvml_temperature_v1 *wanted)
{
    DEVICE_CALL(nvmlDeviceGetTemperatureV, device, temperature_v(&call, wanted));
}

EXPORT(nvmlDeviceGetTemperatureThreshold, nvml_device device, uint32_t which, uint32_t *ret_celsius)
{
    DEVICE_CALL(nvmlDeviceGetTemperatureThreshold, device, threshold(&call, which, ret_celsius));
}

/* ---- Clocks, PCIe ------------------------------------------------------------------------------ */

static nvml_ret clock_rate(const struct call *call, enum number first, uint32_t which,
                           uint32_t *ret_mhz)
{
    return which < 4 ? answer_number(number(call, (enum number)(first + which)), ret_mhz)
                     : NVML_INVALID_ARGUMENT;
}

static nvml_ret throughput(const struct call *call, uint32_t counter, uint32_t *ret_kib)
{
    return counter > 1
               ? NVML_INVALID_ARGUMENT
               : answer_number(number(call, counter ? NUMBER_PCIE_RX : NUMBER_PCIE_TX), ret_kib);
}

EXPORT(nvmlDeviceGetClockInfo, nvml_device device, uint32_t which, uint32_t *ret_mhz)
{
    DEVICE_CALL(nvmlDeviceGetClockInfo, device,
                clock_rate(&call, NUMBER_CLOCK_GRAPHICS, which, ret_mhz));
}

EXPORT(nvmlDeviceGetMaxClockInfo, nvml_device device, uint32_t which, uint32_t *ret_mhz)
{
    DEVICE_CALL(nvmlDeviceGetMaxClockInfo, device,
                clock_rate(&call, NUMBER_MAX_CLOCK_GRAPHICS, which, ret_mhz));
}

EXPORT(nvmlDeviceGetPcieThroughput, nvml_device device, uint32_t counter, uint32_t *ret_kib)
{
    DEVICE_CALL(nvmlDeviceGetPcieThroughput, device, throughput(&call, counter, ret_kib));
}

/* ---- ECC --------------------------------------------------------------------------------------- */

static nvml_ret ecc_mode(const struct call *call, uint32_t *ret_current, uint32_t *ret_pending)
{
    nvml_ret code =
        ret_pending ? answer_number(number(call, NUMBER_ECC), ret_current) : NVML_INVALID_ARGUMENT;
    if (code == NVML_SUCCESS) {
        *ret_pending = (uint32_t)number_or(call, NUMBER_ECC_PENDING, NUMBER_ECC);
    }
    return code;
}

static nvml_ret ecc_errors(const struct call *call, uint32_t type, uint32_t counter,
                           uint64_t *ret_count)
{
    enum number started = type ? NUMBER_ECC_UNCORRECTED : NUMBER_ECC_CORRECTED;
    enum number ever = type ? NUMBER_ECC_UNCORRECTED_EVER : NUMBER_ECC_CORRECTED_EVER;
    uint64_t count = number_or(call, counter ? ever : started, started);
    if (type > 1 || counter > 1 || !ret_count) {
        return NVML_INVALID_ARGUMENT;
    }
    if (number(call, NUMBER_ECC) != 1) {
        return NVML_NOT_SUPPORTED;
    }
    *ret_count = count == WORLD_UNKNOWN ? 0 : count;
    return NVML_SUCCESS;
}

static nvml_ret remapped_rows(const struct call *call, uint32_t *ret[4])
{
    for (size_t i = 0; i < 4; i++) {
        if (!ret[i]) {
            return NVML_INVALID_ARGUMENT;
        }
    }
    if (number(call, NUMBER_ECC) == WORLD_UNKNOWN) {
        return NVML_NOT_SUPPORTED;
    }
    for (size_t i = 0; i < 4; i++) {
        *ret[i] = (uint32_t)number_or_value(call, (enum number)(NUMBER_REMAPPED_CORRECTED + i), 0);
    }
    return NVML_SUCCESS;
}

EXPORT(nvmlDeviceGetEccMode, nvml_device device, uint32_t *ret_current, uint32_t *ret_pending)
{
    DEVICE_CALL(nvmlDeviceGetEccMode, device, ecc_mode(&call, ret_current, ret_pending));
}

EXPORT(nvmlDeviceGetTotalEccErrors, nvml_device device, uint32_t type, uint32_t counter,
       uint64_t *ret_count)
{
    DEVICE_CALL(nvmlDeviceGetTotalEccErrors, device, ecc_errors(&call, type, counter, ret_count));
}

EXPORT(nvmlDeviceGetRemappedRows, nvml_device device, uint32_t *ret_corrected,
       uint32_t *ret_uncorrected, uint32_t *ret_pending, uint32_t *ret_failed)
{
    uint32_t *ret[] = {ret_corrected, ret_uncorrected, ret_pending, ret_failed};
    DEVICE_CALL(nvmlDeviceGetRemappedRows, device, remapped_rows(&call, ret));
}

/* ---- Fields ------------------------------------------------------------------------------------ */

static void read_field(const struct call *call, struct nvml_field_value *field)
{
    uint64_t value = WORLD_UNKNOWN;
    field->value_type = NVML_VALUE_U32;
    switch (field->field) {
    case NVML_FIELD_MEMORY_TEMPERATURE:
        value = number(call, NUMBER_MEMORY_TEMPERATURE);
        break;
    case NVML_FIELD_ENERGY:
        value = number(call, NUMBER_ENERGY);
        field->value_type = NVML_VALUE_U64;
        break;
    case NVML_FIELD_RECOVERY_ACTION:
        value = sim_generation.number >= 565057 ? number_or_value(call, NUMBER_RECOVERY, 0)
                                                : WORLD_UNKNOWN;
        break;
    default:
        break;
    }
    field->code = value == WORLD_UNKNOWN ? NVML_NOT_SUPPORTED : NVML_SUCCESS;
    field->value.u64 = 0;
    if (field->code == NVML_SUCCESS && field->value_type == NVML_VALUE_U64) {
        field->value.u64 = value;
    } else if (field->code == NVML_SUCCESS) {
        field->value.u32 = (uint32_t)value;
    }
}

static nvml_ret read_fields(const struct call *call, int count, struct nvml_field_value *fields)
{
    struct timespec now;
    if (count <= 0 || !fields) {
        return NVML_INVALID_ARGUMENT;
    }
    call_check_buffer(call, fields, (uint64_t)count, sizeof(*fields));
    (void)clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < count; i++) {
        fields[i].timestamp_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
        fields[i].latency_us = 0;
        read_field(call, &fields[i]);
    }
    return NVML_SUCCESS;
}

EXPORT(nvmlDeviceGetFieldValues, nvml_device device, int count, struct nvml_field_value *fields)
{
    DEVICE_CALL(nvmlDeviceGetFieldValues, device, read_fields(&call, count, fields));
}
