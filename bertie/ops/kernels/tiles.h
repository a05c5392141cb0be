// The tile unit of AMX: eight registers of 16 rows of 64 bytes, here tiles 0 to 7.
//
// The instructions are inline assembly, because GCC 12's intrinsics describe them wrongly to the compiler: that loading
// the shape reads 8 bytes instead of 64, and that loading a tile reads no memory. Stores to the loaded memory could
// then come too late or not at all. "memory" says that an instruction may read or write any memory. The compiler itself
// uses no tiles, so they keep their values between instructions, and volatile instructions keep their order.
//
// BERTIE_TILES is 1 for the tile unit and 2 for plain C++ instead, which tests use on processors without the unit. The
// build sets it, because the compilers' own macros for AMX differ.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "vectors.h"

#if BERTIE_TILES == 2

class Tiles {
  public:
    Tiles() { lent = true; }
    ~Tiles() { lent = false; }

    template <int TILE>
    static void zero() {
        use();
        std::memset(tiles[TILE], 0, sizeof tiles[TILE]);
    }

    template <int TILE>
    static void load(const void* from, long stride) {
        use();
        for (int row = 0; row < 16; row++) std::memcpy(tiles[TILE][row], (const char*)from + row * stride, 64);
    }

    template <int TILE>
    static void store(void* to, long stride) {
        use();
        for (int row = 0; row < 16; row++) std::memcpy((char*)to + row * stride, tiles[TILE][row], 64);
    }

    // SUM += LEFT RIGHT: products of the 4-byte groups of a row of LEFT and a column of RIGHT.
    template <class T, int SUM, int LEFT, int RIGHT>
    static void add_product() {
        use();
        for (int row = 0; row < 16; row++)
            for (int column = 0; column < 16; column++)
                for (int group = 0; group < 16; group++)
                    add<T>(tiles[SUM][row] + 4 * column, tiles[LEFT][row] + 4 * group, tiles[RIGHT][group] + 4 * column);
    }

  private:
    static inline thread_local bool lent = false;
    static inline thread_local uint8_t tiles[8][16][64];

    // The real unit raises a signal in a thread that has not loaded the shape.
    static void use() {
        if (!lent) __builtin_trap();
    }

    template <class T>
    static void add(uint8_t* sum, const uint8_t* left, const uint8_t* right) {
        if constexpr (std::is_same<T, uint8_t>::value) {
            int32_t total;
            std::memcpy(&total, sum, sizeof total);
            for (int at = 0; at < 4; at++) total += (int)left[at] * (int)(int8_t)right[at];
            std::memcpy(sum, &total, sizeof total);
        } else {
            float total;
            BFloat a[2], b[2];
            std::memcpy(&total, sum, sizeof total);
            std::memcpy(a, left, sizeof a);
            std::memcpy(b, right, sizeof b);
            for (int at = 0; at < 2; at++) total += one(a + at) * one(b + at);
            std::memcpy(sum, &total, sizeof total);
        }
    }
};

#elif BERTIE_TILES == 1

// While an object lives, its thread may use the unit. The process must have requested the unit from the system before.
class Tiles {
  public:
    Tiles() {
        struct alignas(64) Shape {
            uint8_t palette = 1, start = 0, reserved[14] = {};
            uint16_t bytes[16] = {};
            uint8_t rows[16] = {};
        } shape;
        static_assert(sizeof shape == 64, "as the instruction reads it");
        for (int tile = 0; tile < 8; tile++) shape.bytes[tile] = 64, shape.rows[tile] = 16;
        asm volatile("ldtilecfg %0" ::"m"(shape));
    }

    ~Tiles() { asm volatile("tilerelease"); }

    template <int TILE>
    static void zero() {
        asm volatile("tilezero %%tmm%c0" ::"i"(TILE));
    }

    template <int TILE>
    static void load(const void* from, long stride) {
        asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(TILE), "r"(from), "r"(stride) : "memory");
    }

    template <int TILE>
    static void store(void* to, long stride) {
        asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(TILE), "r"(to), "r"(stride) : "memory");
    }

    // SUM += LEFT RIGHT: products of the 4-byte groups of a row of LEFT and a column of RIGHT.
    template <class T, int SUM, int LEFT, int RIGHT>
    static void add_product() {
        if constexpr (std::is_same<T, uint8_t>::value)
            asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(SUM), "i"(LEFT), "i"(RIGHT));
        else asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(SUM), "i"(LEFT), "i"(RIGHT));
    }
};
#endif
