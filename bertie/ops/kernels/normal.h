// Phi and phi of the normal distribution from one exponential (Abramowitz and Stegun, 7.1.26: error at most 1.5e-7).
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

// Return 0.5 plus an odd polynomial of x, which is clamped to [-end, end]; `terms` starts with the coefficient of x.
template <int COUNT>
inline Floats odd(Floats x, float end, const float (&terms)[COUNT]) {
    const Floats near = x > end ? splat(end) : -end > x ? splat(-end) : x, square = near * near;
    Floats sum = splat(terms[COUNT - 1]);
    for (int at = COUNT - 2; at >= 0; at--) sum = sum * square + terms[at];
    return sum * near + 0.5f;
}

// Phi by a minimax polynomial with error at most 1.3e-4 / |x|, so the error of x Phi(x) is at most 1.3e-4. It is
// exactly 0 below -4 and 1 above 4. This is precise enough for results that are rounded to bfloats or bytes.
inline Floats roughly_below(Floats x) {
    return odd(x, 4.0f,
               {0.3981978716000477f, -6.510560541272983e-2f, 9.076780175144735e-3f, -8.963476404891561e-4f,
                5.983533671160631e-5f, -2.537759107819786e-6f, 6.112764689881704e-8f, -6.318503710389672e-10f});
}

// GELU's slope Phi(x) + x phi(x) by the same method, with error at most 2.6e-4.
inline Floats rough_slope(Floats x) {
    return odd(x, 4.5f,
               {0.7968501620859492f, -0.26252341073077057f, 5.6451617139737065e-2f, -7.94182077205475e-3f,
                7.498679750493792e-4f, -4.689501536527691e-5f, 1.8524445580097969e-6f, -4.1656067123890735e-8f,
                4.0499208674117155e-10f});
}
