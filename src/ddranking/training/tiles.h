// The part of fused.cpp for bf16, which needs a processor with tiles (AMX): one instruction
// multiplies 16 rows of 32 bfloat16 with 32 x 16, given as 16 rows of pairs [16][2], and adds to
// 16 x 16 float32.

#pragma once

struct bf16 {
    uint16_t bits;
};
vec load(const bf16* from) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
    return (vec)_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
void store(bf16* to, vec value) {
    _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));
}
bf16 rounded(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    if (value != value) return {0x7fc0};
    return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

// Float's counterpart. All taps are multiplied at once: 27 of three channels or 9 of one, and
// zeros up to 32.
struct Tiles {
    typedef bf16 map;
    static constexpr bool TWICE = true;
    Shape s;
    long pixels, pitch;            // pitch of `across`, off powers of two
    buffer<bf16> planes, last;     // padded images, [c_in][h + 2][w + 2] and [h + 2][w + 2][c_in]
    buffer<bf16> patches, across;  // [pixels][32] and [32][pitch]
    buffer<bf16> packed;           // weights, [group][2][16 pairs of K][16][2]
    buffer<bf16> gradient;         // dL/dy of some rows of one group, [pixels / 2][2][16][2]

    Tiles(const Shape& shape, const float* weight)
        : s(shape), pixels(s.h() * s.w()), pitch(pixels + 32),
          planes((s.h() + 2) * (s.w() + 2) * s.c_in), last(planes.size() + 32),
          patches(pixels * 32 + 32), across(32 * pitch), packed(s.channels * 32),
          gradient(4 * s.w() * GROUP) {
        for (long o = 0; o < s.channels; o++)
            for (long k = 0; k < s.taps(); k++)
                packed[o / 16 * 512 + k / 2 * 32 + o % 16 * 2 + k % 2] =
                    rounded(weight[o * s.taps() + k % s.c_in * 9 + k / s.c_in]);
        configure();
    }
    ~Tiles() { _tile_release(); }

    static void configure() {
        struct {
            uint8_t palette = 1, start = 0, reserved[14] = {};
            uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        } config;
        written(&config);
        _tile_loadconfig(&config);
    }

    // Tiles 0 to 3 are 32 x 32 sums, of a matrix with `pitch` numbers a row; 4 and 5 are 32 rows, 6
    // and 7 are 32 columns.
    static void begin() {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    static void begin(const float* sums, long pitch) {
        _tile_loadd(0, sums, pitch * 4);
        _tile_loadd(1, sums + 16, pitch * 4);
        _tile_loadd(2, sums + 16 * pitch, pitch * 4);
        _tile_loadd(3, sums + 16 * pitch + 16, pitch * 4);
    }
    static void multiply() {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    static void finish(float* sums, long pitch) {
        _tile_stored(0, sums, pitch * 4);
        _tile_stored(1, sums + 16, pitch * 4);
        _tile_stored(2, sums + 16 * pitch, pitch * 4);
        _tile_stored(3, sums + 16 * pitch + 16, pitch * 4);
    }
    // The compiler does not know that tile loads read memory: what was written must be there.
    static void written(const void* at = nullptr) { asm volatile("" ::"r"(at) : "memory"); }

    void image(const float* from) {
        const long w = s.w() + 2, row = w * s.c_in, part = 3 * s.c_in;
        for (long c = 0; c < s.c_in; c++)
            for (long r = 0; r < s.side_h; r++, from += s.side_w) {
                bf16* to = &planes[(c * (s.h() + 2) + r + s.padding) * w + s.padding];
                long done = 0;
                for (; done + 16 <= s.side_w; done += 16) store(to + done, load(from + done));
                for (; done < s.side_w; done++) to[done] = rounded(from[done]);
                for (long x = 0; x < s.side_w; x++)
                    last[(r + s.padding) * row + (x + s.padding) * s.c_in + c] = to[x];
            }
        for (long r = 0; r < s.h(); r++)
            for (long x = 0; x < s.w(); x++)
                for (int ky = 0; ky < 3; ky++)  // 16 values where 9 or 3 are meant: later ones win
                    std::memcpy(&patches[(r * s.w() + x) * 32 + ky * part],
                                &last[(r + ky) * row + x * s.c_in], 32);
    }

    void before_gradient() {  // the patches across: for each tap, all pixels
        for (long k = 0; k < s.taps(); k++)
            for (long r = 0; r < s.h(); r++)
                std::memcpy(&across[k * pitch + r * s.w()],
                            &planes[(k % s.c_in * (s.h() + 2) + r + k / s.c_in / 3) * (s.w() + 2) +
                                    k / s.c_in % 3],
                            s.w() * sizeof(bf16));
    }

    void convolve(long group, long first, long count, const vec* mean, float* y) {
        alignas(64) float start[GROUP];
        for (int v = 0; v < 2; v++) store(start + v * LANES, -mean[v]);
        written(start);
        _tile_loadd(6, &packed[group * 1024], 64);
        _tile_loadd(7, &packed[group * 1024 + 512], 64);
        for (long p = first * s.w(); p < (first + count) * s.w(); p += 32, y += 32 * GROUP) {
            begin(start, 0);  // all rows are the same one
            _tile_loadd(4, &patches[p * 32], 64);
            _tile_loadd(5, &patches[p * 32 + 512], 64);
            multiply();
            finish(y, GROUP);
        }
    }

    void weight_gradient(long first, long count, const float* y, const Gradient& g,
                         const bf16* grad, float* out) {
        alignas(64) uint16_t order[32];  // [pixel][channel] to [channel][pixel]
        for (int i = 0; i < 32; i++) order[i] = i / 2 + i % 2 * 16;
        const __m512i interleave = _mm512_load_si512(order);
        bf16* to = gradient.data();
        g.put(y, count, s.w(), GROUP, true, grad, s.channels, [=](long p, int v, vec a, vec b) {
            const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
            _mm512_storeu_si512(to + p * GROUP + v * 32,
                                _mm512_permutexvar_epi16(interleave, both));
        });
        alignas(64) float sum[32 * GROUP] = {};
        std::memcpy(sum, out, s.taps() * GROUP * sizeof(float));
        written(sum);
        begin(sum, GROUP);
        for (long p = 0; p < count * s.w(); p += 32) {
            _tile_loadd(4, &across[first * s.w() + p], pitch * 2);
            _tile_loadd(5, &across[16 * pitch + first * s.w() + p], pitch * 2);
            _tile_loadd(6, &gradient[p * GROUP], 128);
            _tile_loadd(7, &gradient[p * GROUP + 32], 128);
            multiply();
        }
        finish(sum, GROUP);
        std::memcpy(out, sum, s.taps() * GROUP * sizeof(float));
    }
};

// dL/dweight [c_out][ky][kx][c_in] of a later block's convolution, as many channels in as out:
// oneDNN takes two to three times as long for it as for the other two products of that layer.
//
// The sum is over the places of maps. Images lie one after another, each row with a zero after it
// and each image with a row of zeros, which is the border of both neighbours; gradients lie alike,
// so that a tap is a shift of all places, and what it brings in from outside counts zero.
struct LaterWeights {
    long h, w, channels, row, one;  // places of a row and of an image
    long together, length;          // images that are summed at once, and their places
    long reach, pitch;              // pairs of the inputs, and what gradients of a channel take
    buffer<bf16> across;            // gradients [channel][pitch]
    buffer<bf16> pairs[2];          // inputs of places 2 i + (0 or 1) and the next, place 0 in the
                                    // border: [channel / 32][i][32][2]
    std::vector<const bf16*> from;  // of each place, the pixel that lies there
    buffer<bf16> nothing;

    LaterWeights(long h, long w, long channels)
        : h(h), w(w), channels(channels), row(w + 1), one((h + 1) * row),
          together(one < 320 ? 320 / one : 1), length((together * one - row + 31) / 32 * 32),
          reach((length + 2 * row + 3) / 2), pitch(length | 32),
          across(channels * pitch), from(length + 2 * row + 4), nothing(channels) {
        for (auto& each : pairs) each.resize(reach * 2 * channels);
    }

    void lay(const bf16* maps, long images, long first) {
        from.assign(from.size(), nothing.data());
        for (long i = 0; i < images; i++)
            for (long r = 0; r < h; r++)
                for (long c = 0; c < w; c++, maps += channels)
                    from[first + i * one + r * row + c] = maps;
    }

    // Of places p and p + 1: [channel][2], for 16 channels.
    __m512i pair(long p, long channel) const {
        const __m256i a = _mm256_loadu_si256((const __m256i*)(from[p] + channel));
        const __m256i b = _mm256_loadu_si256((const __m256i*)(from[p + 1] + channel));
        return _mm512_or_si512(_mm512_cvtepu16_epi32(a),
                               _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
    }

    void inputs(const bf16* maps, long images) {
        lay(maps, images, row + 1);
        for (int odd = 0; odd < 2; odd++)
            for (long i = 0; i < reach; i++)
                for (long c = 0; c < channels; c += 16)
                    _mm512_store_si512(&pairs[odd][(c / 32 * reach + i) * 64 + c % 32 * 2],
                                       pair(2 * i + odd, c));
    }

    void gradients(const bf16* maps, long images) {
        lay(maps, images, 0);
        for (long p = 0; p < length; p += 32)
            for (long c = 0; c < channels; c += 16) {
                __m512i block[16];
                for (int i = 0; i < 16; i++) block[i] = pair(p + 2 * i, c);
                for (int step = 1; step < 16; step *= 2) {  // transposes 16 x 16
                    alignas(64) int low[16], high[16];
                    for (int j = 0; j < 16; j++) {
                        low[j] = j & step ? j - step + 16 : j;
                        high[j] = j & step ? j + 16 : j + step;
                    }
                    const __m512i l = _mm512_load_si512(low), u = _mm512_load_si512(high);
                    for (int i = 0; i < 16; i++)
                        if (!(i & step)) {
                            const __m512i a = block[i], b = block[i + step];
                            block[i] = _mm512_permutex2var_epi32(a, l, b);
                            block[i + step] = _mm512_permutex2var_epi32(a, u, b);
                        }
                }
                for (int i = 0; i < 16; i++)
                    _mm512_store_si512(&across[(c + i) * pitch + p], block[i]);
            }
    }

    void add(float* out, bool first) const {  // the first images: `out` holds nothing yet
        for (long o = 0; o < channels; o += 32)
            for (long in = 0; in < channels; in += 32)
                for (int odd = 0; odd < 2; odd++)
                    for (long tap = 0; tap < 9; tap++) {
                        const long shift = tap / 3 * row + tap % 3;
                        if (shift % 2 != odd) continue;  // taps of one copy: it stays in the cache
                        const bf16* left = &across[o * pitch];
                        const bf16* right = &pairs[odd][(in / 32 * reach + shift / 2) * 64];
                        float* sum = out + (o * 9 + tap) * channels + in;
                        first ? Tiles::begin() : Tiles::begin(sum, 9 * channels);
                        for (long p = 0; p < length; p += 32) {
                            _tile_loadd(4, left + p, pitch * 2);
                            _tile_loadd(5, left + 16 * pitch + p, pitch * 2);
                            _tile_loadd(6, right + p * 32, 128);
                            _tile_loadd(7, right + p * 32 + 32, 128);
                            Tiles::multiply();
                        }
                        Tiles::finish(sum, 9 * channels);
                    }
    }
};
