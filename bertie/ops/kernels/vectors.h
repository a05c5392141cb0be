// Vectors of floats as wide as the processor's registers. The same code serves all processors: the compiler turns GCC's
// and Clang's vector extensions into AVX-512, AVX2, NEON or plain code, depending on -march.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#ifndef BERTIE_LANES
#if defined(__AVX512F__)
#define BERTIE_LANES 16
#elif defined(__AVX__)
#define BERTIE_LANES 8
#else
#define BERTIE_LANES 4
#endif
#endif

constexpr int LANES = BERTIE_LANES;

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef int16_t Lanes __attribute__((vector_size(2 * LANES)));

// A bfloat16: the upper half of a float.
struct BFloat {
    uint16_t bits;
};

inline int padded(int count) { return (count + LANES - 1) / LANES * LANES; }

inline Floats splat(float value) { return value - Floats{}; }

inline Floats load(const float* from) {
    Floats values;
    std::memcpy(&values, from, sizeof values);
    return values;
}

inline Floats load(const BFloat* from) {
    Halves bits;
    std::memcpy(&bits, from, sizeof bits);
    return (Floats)(__builtin_convertvector(bits, Words) << 16);
}

inline void store(float* to, Floats values) { std::memcpy(to, &values, sizeof values); }

// Rounds to nearest, ties to even, as torch does; a NaN stays a NaN.
inline void store(BFloat* to, Floats values) {
#if defined(__AVX512BF16__) && BERTIE_LANES == 16
    const __m256bh half = _mm512_cvtneps_pbh((__m512)values);
#else
    Words bits = (Words)values;
    Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    Words is_nan = (Words)((bits & 0x7fffffffu) > 0x7f800000u);
    const Halves half = __builtin_convertvector((is_nan & 0x7fc0u) | (~is_nan & rounded), Halves);
#endif
    std::memcpy(to, &half, sizeof half);
}

inline float one(const float* from) { return *from; }

inline float one(const BFloat* from) {
    uint32_t bits = (uint32_t)from->bits << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline void put(float* to, float value) { *to = value; }

inline void put(BFloat* to, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    to->bits = value != value ? 0x7fc0 : (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Load the last `count` < LANES values of a row, padded with zeros.
template <class T>
inline Floats load_some(const T* from, int count) {
    float values[LANES] = {};
    for (int lane = 0; lane < count; lane++) values[lane] = one(from + lane);
    return load(values);
}

template <class T>
inline void store_some(T* to, Floats values, int count) {
    for (int lane = 0; lane < count; lane++) put(to + lane, values[lane]);
}

inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

// Return the lanes with these numbers: below LANES those of `a`, from LANES on those of `b`. Constant numbers give one
// instruction.
inline Floats shuffle(Floats a, Floats b, Ints numbers) {
#if defined(__GNUC__) && !defined(__clang__)
    return __builtin_shuffle(a, b, numbers);
#else
    Floats chosen;
    for (int lane = 0; lane < LANES; lane++)
        chosen[lane] = numbers[lane] < LANES ? a[numbers[lane]] : b[numbers[lane] - LANES];
    return chosen;
#endif
}

inline Ints lanes() {
    Ints numbers{};
    for (int lane = 0; lane < LANES; lane++) numbers[lane] = lane;
    return numbers;
}

// Adds half of the lanes to the other half until one is left.
inline float sum(Floats values) {
    for (int half = LANES / 2; half; half /= 2) values += shuffle(values, values, lanes() ^ half);
    return values[0];
}

inline float largest(Floats values) {
    for (int half = LANES / 2; half; half /= 2) values = larger(values, shuffle(values, values, lanes() ^ half));
    return values[0];
}

// Transpose a square of LANES rows of LANES floats, by exchanging halves of squares of growing size.
inline void turn(Floats* rows) {
    for (int half = 1; half < LANES; half *= 2) {
        const Ints place = lanes(), right = (place & half) != 0;
        const Ints above = (right & (place - half + LANES)) | (~right & place);
        const Ints below = (right & (place + LANES)) | (~right & (place + half));
        for (int row = 0; row < LANES; row++) {
            if (row & half) continue;
            const Floats upper = rows[row], lower = rows[row + half];
            rows[row] = shuffle(upper, lower, above);
            rows[row + half] = shuffle(upper, lower, below);
        }
    }
}

// e^x with relative error 2e-7 for x in [-87, 88]; e^-87 for smaller x, NaN for NaN.
// x = n ln 2 + f with |f| <= ln 2 / 2: e^f is a polynomial, and n is added to the exponent.
inline Floats exponential(Floats x) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    x = -87.0f > x ? splat(-87.0f) : x;
    Floats shifted = x * 1.44269504088896341f + magic;
    Floats whole = shifted - magic;
    Floats f = x - whole * 0.693359375f;
    f = f + whole * 2.12194440e-4f;
    Floats p = f * (1.0f / 720) + (1.0f / 120);
    p = p * f + (1.0f / 24);
    p = p * f + (1.0f / 6);
    p = p * f + 0.5f;
    p = p * f + 1.0f;
    p = p * f + 1.0f;
    Ints exponent = ((Ints)shifted - 0x4B400000 + 127) << 23;
    return p * (Floats)exponent;
}
