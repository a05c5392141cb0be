// The hash that draws dropout, as in ops/dropout/op.py: the same bits for the same index and key words.
#pragma once

#include "vectors.h"

inline Words scramble(Words word, int shift) { return word ^ (word >> shift); }

struct Dropout {
    uint32_t first, second;  // the key words of a site

    // Draw 16 bits for each of 2 * LANES values: the two halves of the hashes of words `index`, `index` + 1, ...
    void draw(uint32_t index, int16_t* draws) const {
        Words word{};
        for (int lane = 0; lane < LANES; lane++) word[lane] = lane;
        word = scramble(scramble(scramble(word + index, 16) * 0x7FEB352Du, 15) * 0x846CA68Bu, 16);
        word = scramble((word ^ first) * 0x7FEB352Du, 15);
        word = scramble((word + second) * 0x846CA68Bu, 16);
        std::memcpy(draws, &word, sizeof word);
    }

    // Values whose draw is at least this number are kept.
    static int threshold(double rate) { return (int)std::nearbyint(rate * 65536) - 32768; }
};

// Return `scale` for values that are kept, else 0.
inline Floats kept(const int16_t* draws, int threshold, float scale) {
    Lanes lanes;
    std::memcpy(&lanes, draws, sizeof lanes);
    Ints keep = __builtin_convertvector(lanes, Ints) >= threshold;
    return (Floats)(keep & (Ints)splat(scale));
}
