// The normal distribution, Phi and phi, from one exponential (Abramowitz and Stegun, 7.1.26: within 1.5e-7).
#pragma once

#include "vectors.h"

struct Normal {
    Floats below, density;  // Phi and phi
};

inline Normal normal(Floats x) {
    const Floats bell = exponential(x * x * -0.5f);
    const Floats size = larger(x, -x);
    const Floats t = 1.0f / (1.0f + size * (0.3275911f * 0.70710678f));
    Floats tail = t * 1.061405429f + -1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t + -0.284496736f;
    tail = (tail * t + 0.254829592f) * t * bell * 0.5f;  // 1 - Phi(|x|)
    return {x < 0.0f ? tail : 1.0f - tail, bell * 0.3989422804f};
}

// Phi within 1.3e-4 / |x|, so that x Phi(x) is within 1.3e-4: an odd polynomial that is 0 and 1 from -4 and 4 on
// (minimax of the error times |x|, its end held).
inline Floats roughly_below(Floats x) {
    const Floats near = x > 4.0f ? splat(4.0f) : -4.0f > x ? splat(-4.0f) : x, square = near * near;
    Floats p = square * -6.318503710389672e-10f + 6.112764689881704e-8f;
    p = p * square + -2.537759107819786e-6f;
    p = p * square + 5.983533671160631e-5f;
    p = p * square + -8.963476404891561e-4f;
    p = p * square + 9.076780175144735e-3f;
    p = p * square + -6.510560541272983e-2f;
    p = p * square + 0.3981978716000477f;
    return p * near + 0.5f;
}
