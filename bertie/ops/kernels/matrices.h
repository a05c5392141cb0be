// Products of a block of rows with a packed matrix, 64 columns at a time: in floats on any processor, and in bfloats
// and 8-bit integers with the instructions of AVX-512 and AMX.
//
// Rows of 8-bit integers are stored with 128 added, because these instructions need one side unsigned. Each output then
// subtracts 128 times the sum of its column. A matrix (inputs x outputs) is stored in strips of 16 columns. Within a
// strip, the inputs come in groups of 4 bytes (1 float, 2 bfloats or 4 integers), and each group for all 16 columns in
// turn. Both a vector of 16 lanes and a tile of 16 rows of 64 bytes read this layout directly.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "tiles.h"
#include "vectors.h"

struct Matrix {
    const void* packed;
    const int32_t* sums;  // (outputs,) -128 times the sum of each column; integers only
    const float *scales, *bias;  // (outputs,); scales for integers only
    int64_t inputs, outputs;
};

constexpr int STRIP = 16, COLUMNS = 64, ROWS = 128;  // ROWS: the most rows of a block

template <class T>
constexpr int GROUP = 4 / sizeof(T);  // inputs in a group of 4 bytes

// Whether the tile unit multiplies elements of this type.
template <class T>
constexpr bool in_tiles() {
#ifdef BERTIE_TILES
    return !std::is_same<T, float>::value;
#else
    return false;
#endif
}

// A thread holds a `Unit` while it multiplies: the tile unit, or nothing.
struct Nothing {
    Nothing() {}
};
#ifdef BERTIE_TILES
template <class T>
using Unit = std::conditional_t<in_tiles<T>(), Tiles, Nothing>;
#else
template <class T>
using Unit = Nothing;
#endif

// Whether products of this type run at the processor's full speed. For floats only with the widest vectors: with fewer
// registers the compiler keeps sums in memory, and the library of torch is faster.
template <class T>
constexpr bool has_products() {
    if (std::is_same<T, float>::value) return LANES == 16;
    if (in_tiles<T>()) return true;
#if defined(__AVX512BF16__)
    if (std::is_same<T, BFloat>::value) return true;
#endif
#if defined(__AVX512VNNI__)
    if (std::is_same<T, uint8_t>::value) return true;
#endif
    return false;
}

// Return the index of a matrix element in the packed layout.
template <class T>
inline int64_t packed_place(int64_t input, int64_t output, int64_t inputs) {
    constexpr int group = GROUP<T>;
    return output / STRIP * STRIP * inputs + (input / group * STRIP + output % STRIP) * group + input % group;
}

// sums (rows x 32) = a (rows x inputs) b (two strips), for 32 rows if TALL, else 16. Tiles 0 to 3 hold the sums, tiles
// 4 and 5 rows of a, tiles 6 and 7 the strips of b.
template <class T, bool TALL>
void multiply_tiles(const T* a, int64_t inputs, const T* b, int64_t strip, float* sums);

#ifdef BERTIE_TILES
template <class T, bool TALL>
void multiply_tiles(const T* a, int64_t inputs, const T* b, int64_t strip, float* sums) {
    const long stride = inputs * sizeof(T);
    const auto* left = (const char*)a;
    const auto *right = (const char*)b, *next = (const char*)(b + strip);
    Tiles::zero<0>();
    Tiles::zero<1>();
    if (TALL) {
        Tiles::zero<2>();
        Tiles::zero<3>();
    }
    for (long at = 0; at < stride; at += 64) {
        Tiles::load<4>(left + at, stride);
        Tiles::load<6>(right + at * STRIP, 64);
        Tiles::load<7>(next + at * STRIP, 64);
        if (TALL) Tiles::load<5>(left + 16 * stride + at, stride);
        Tiles::add_product<T, 0, 4, 6>();
        Tiles::add_product<T, 1, 4, 7>();
        if (TALL) {
            Tiles::add_product<T, 2, 5, 6>();
            Tiles::add_product<T, 3, 5, 7>();
        }
    }
    Tiles::store<0>(sums, 4 * COLUMNS);
    Tiles::store<1>(sums + STRIP, 4 * COLUMNS);
    if (TALL) {
        Tiles::store<2>(sums + 16 * COLUMNS, 4 * COLUMNS);
        Tiles::store<3>(sums + 16 * COLUMNS + STRIP, 4 * COLUMNS);
    }
}
#endif

// sums (TALL x STRIPS * STRIP) = a (TALL x inputs) b, with all sums in registers.
template <int TALL, int STRIPS>
inline void dots(const float* a, int64_t inputs, const float* b, int64_t strip, float* sums) {
    constexpr int PARTS = STRIP / LANES;
    Floats totals[TALL][STRIPS * PARTS] = {};
    for (int64_t input = 0; input < inputs; input++)
        for (int part = 0; part < STRIPS * PARTS; part++) {
            const Floats right = load(b + part / PARTS * strip + input * STRIP + part % PARTS * LANES);
            for (int row = 0; row < TALL; row++) totals[row][part] += splat(a[row * inputs + input]) * right;
        }
    for (int row = 0; row < TALL; row++)
        for (int part = 0; part < STRIPS * PARTS; part++) store(sums + row * COLUMNS + part * LANES, totals[row][part]);
}

#if defined(__AVX512BF16__) || defined(__AVX512VNNI__)
// Return total + left * right, with 2 bfloats or 4 integers for each of 16 columns; totals are floats or 32-bit
// integers.
template <class T>
inline __m512i with_dots(__m512i total, __m512i left, __m512i right) {
    if constexpr (std::is_same<T, BFloat>::value)
        asm volatile("vdpbf16ps %2, %1, %0" : "+v"(total) : "v"(left), "v"(right));
    else
        asm volatile("vpdpbusd %2, %1, %0" : "+v"(total) : "v"(left), "v"(right));
    return total;
}

inline __m512i repeated(const void* group) {
    __m512i copies;
    asm volatile("vpbroadcastd %1, %0" : "=v"(copies) : "m"(*(const char(*)[4])group));
    return copies;
}

// The same for bfloats or bytes. The inline assembly fixes the order of the instructions, and the loops are unrolled. A
// compiler that may load ahead runs out of registers and keeps the sums in memory, which takes longer than the
// products.
template <int TALL, int STRIPS, class T>
inline void dots(const T* a, int64_t inputs, const T* b, int64_t strip, float* sums) {
    __m512i totals[TALL][STRIPS] = {};
    for (int64_t input = 0; input < inputs; input += GROUP<T>) {
        __m512i right[STRIPS];
#pragma GCC unroll 4
        for (int at = 0; at < STRIPS; at++) right[at] = _mm512_loadu_si512(b + at * strip + input * STRIP);
#pragma GCC unroll 8
        for (int row = 0; row < TALL; row++) {
            const __m512i left = repeated(a + row * inputs + input);
#pragma GCC unroll 4
            for (int at = 0; at < STRIPS; at++) totals[row][at] = with_dots<T>(totals[row][at], left, right[at]);
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < TALL; row++)
#pragma GCC unroll 4
        for (int at = 0; at < STRIPS; at++) _mm512_storeu_si512(sums + row * COLUMNS + at * STRIP, totals[row][at]);
}
#endif

constexpr int WIDE = LANES == 16 ? 4 : 1, TALLEST = 6;  // strips and rows whose sums fit into the registers

template <int TALL, class T>
inline void across(const T* a, int64_t inputs, const T* b, int64_t strip, float* sums) {
    for (int at = 0; at < COLUMNS / STRIP; at += WIDE)
        dots<TALL, WIDE>(a, inputs, b + at * strip, strip, sums + at * STRIP);
}

template <int TALL, class T>
inline void across_some(int tall, const T* a, int64_t inputs, const T* b, int64_t strip, float* sums) {
    if (tall == TALL) across<TALL>(a, inputs, b, strip, sums);
    else if constexpr (TALL > 1) across_some<TALL - 1>(tall, a, inputs, b, strip, sums);
}

// sums (rows x COLUMNS) = a (rows x inputs) times the columns from `column` on. `a` and `sums` must have room for whole
// tiles of rows. Sums of integers are int32 in the same memory, before `Matrix::sums` is added.
template <class T>
inline void multiply(const T* a, int rows, const Matrix& matrix, int64_t column, float* sums) {
    const int64_t inputs = matrix.inputs, strip = inputs * STRIP;
    const T* b = (const T*)matrix.packed + column * inputs;
    int row = 0;
    if constexpr (in_tiles<T>()) {
        for (int half = 0; half < COLUMNS; half += 2 * STRIP) {
            const T* right = b + half * inputs;
            for (row = 0; row + 16 < rows; row += 32)
                multiply_tiles<T, true>(a + row * inputs, inputs, right, strip, sums + row * COLUMNS + half);
            if (row < rows)
                multiply_tiles<T, false>(a + row * inputs, inputs, right, strip, sums + row * COLUMNS + half);
        }
    } else {
        for (; row + TALLEST <= rows; row += TALLEST)
            across<TALLEST>(a + row * inputs, inputs, b, strip, sums + row * COLUMNS);
        if (row < rows) across_some<TALLEST - 1>(rows - row, a + row * inputs, inputs, b, strip, sums + row * COLUMNS);
    }
}
