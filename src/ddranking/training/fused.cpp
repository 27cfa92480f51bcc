// Blocks of a ConvNet, one image after another:
//
//     first block    conv 3x3 -> norm -> ReLU -> 2x2 average pool
//     later blocks   (convolution by oneDNN) norm -> ReLU -> 2x2 average pool
//
// in float32 here, in bfloat16 in tiles.h. What costs time in these networks is not arithmetic but
// the traffic of large maps: the first block's are 128 x 32 x 32 for each image. Here they never
// leave the core's cache: a group of channels of one image is computed, normalised and pooled, and
// the backward pass computes it again. An instance norm takes mean and variance from the image
// itself, so that one pass over the images is enough. In training a batch norm takes them from all
// images: one pass for its sums, one more with what they give. One thread, sums always in the same
// order.
//
// Layout: maps are channels last, [image][row][column][channel]; images are [image][channel][row]
// [column]. h and w are the sides of the map before pooling, both even. A group is what two vector
// registers hold; the number of channels is a multiple of it. K = 9 * c_in taps, in the order
// (ky, kx, c). A convolution's bias is left out: a norm takes out again what it adds to a mean.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512BF16__)
#define BF16 1
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

#ifdef __AVX512F__
constexpr int LANES = 16, PIXELS = 8, TAPS = 9;  // sums that 32 registers hold
#else
constexpr int LANES = 8, PIXELS = 4, TAPS = 3;  // sums that 16 registers hold
#endif
constexpr int GROUP = 2 * LANES;

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

vec load(const float* from) { return *(const vec*)from; }
void store(float* to, vec value) { *(vec*)to = value; }
vec same(float value) { return value - vec{}; }
vec relu(vec z) { return z <= 0 ? vec{} : z; }  // keeps NaN, as torch does

template <class T>
struct Lines {  // allocates at the start of a cache line: a register is one line
    typedef T value_type;
    T* allocate(size_t n) { return (T*)::operator new(n * sizeof(T), std::align_val_t(64)); }
    void deallocate(T* at, size_t) { ::operator delete(at, std::align_val_t(64)); }
    bool operator==(const Lines&) const = default;
};
template <class T>
using buffer = std::vector<T, Lines<T>>;

// Rows of the map that are worked on at once: they stay in the first cache, are whole pooling
// windows, and fill tiles of 32 pixels.
long rows_at_once(long w) { return w % 16 ? 4 : 2; }

// What a pass over the images does. `kept` holds [channels / GROUP][2][GROUP] numbers, one such
// table for each image but in GIVEN and the backward GATHER, where all images share one.
//
//     EACH    all of it, by mean and 1 / deviation of each image, which forward leaves in `kept`
//     GATHER  forward: mean and variance of each image into `kept`; backward: d_gamma and d_beta
//     GIVEN   all of it, by what `kept` holds; backward: and by d_gamma and d_beta of all images
enum Pass : long { EACH, GATHER, GIVEN };

struct Norm {  // of one group
    vec mean[2], rstd[2], gamma[2], beta[2];

    void spread(const vec* variance, float eps) {
        for (int v = 0; v < 2; v++)
            for (int i = 0; i < LANES; i++) rstd[v][i] = 1 / std::sqrt(variance[v][i] + eps);
    }
};

// Mean and variance over the pixels of an image in one pass. Deviations are from the mean of the
// first rows, which is near enough: it is at most sqrt(h / 2) standard deviations away.
struct Moments {
    vec shift[2] = {}, sum[2] = {}, square[2] = {};

    template <class T>
    void rows(const T* y, long pixels, long stride, bool first) {
        for (int v = 0; v < 2; v++, y += LANES) {
            vec sums[4] = {}, squares[4] = {};
            if (first) {
                for (long p = 0; p < pixels; p += 4)
                    for (int i = 0; i < 4; i++) sums[i] += load(y + (p + i) * stride);
                shift[v] = ((sums[0] + sums[1]) + (sums[2] + sums[3])) / same(pixels);
                for (vec& each : sums) each = vec{};
            }
            for (long p = 0; p < pixels; p += 4)
                for (int i = 0; i < 4; i++) {
                    const vec d = load(y + (p + i) * stride) - shift[v];
                    sums[i] += d;
                    squares[i] += d * d;
                }
            sum[v] += (sums[0] + sums[1]) + (sums[2] + sums[3]);
            square[v] += (squares[0] + squares[1]) + (squares[2] + squares[3]);
        }
    }

    void finish(long pixels, vec* mean, vec* variance) const {
        for (int v = 0; v < 2; v++) {
            const vec off = sum[v] / same(pixels);
            mean[v] = shift[v] + off;
            variance[v] = square[v] / same(pixels) - off * off;
            for (int i = 0; i < LANES; i++) variance[v][i] = std::fmax(variance[v][i], 0.0f);
        }
    }
};

template <class T, class U>
void normalise_and_pool(const T* y, long h, long w, long stride, const Norm& n, U* out, long step) {
    for (int v = 0; v < 2; v++, y += LANES, out += LANES) {
        const vec scale = n.rstd[v] * n.gamma[v], shift = n.beta[v] - n.mean[v] * scale;
        U* to = out;
        for (long r = 0; r < h; r += 2)
            for (long c = 0; c < w; c += 2, to += step) {
                const T* at = y + (r * w + c) * stride;
                const vec a = relu(load(at) * scale + shift);
                const vec b = relu(load(at + stride) * scale + shift);
                const vec d = relu(load(at + w * stride) * scale + shift);
                const vec e = relu(load(at + (w + 1) * stride) * scale + shift);
                store(to, ((a + b) + (d + e)) * same(0.25f));
            }
    }
}

// The backward pass of normalise_and_pool for one group. With d = y - mean and g the gradient at the
// norm's output, a quarter of the pooled one where ReLU let it through, and means over all pixels
// that share a mean:
//
//     dL/dy = rstd * gamma * (g - mean(g) - d * rstd^2 * mean(g d))
//
// rows() is called for all rows, then add() and over(), then put() for all rows again; or, where
// another pass has added up the sums, all() and put().
struct Gradient {
    const Norm& n;
    vec g[2] = {}, gd[2] = {}, less[2] = {}, slope[2] = {};  // sums; what comes of them

    vec scale(int v) const { return n.rstd[v] * n.gamma[v]; }

    template <class T, class U>
    void rows(const T* y, long h, long w, long stride, bool centred, const U* grad, long step) {
        for (int v = 0; v < 2; v++, y += LANES, grad += LANES) {
            const vec mean = centred ? vec{} : n.mean[v], by = scale(v), beta = n.beta[v];
            vec sum[4] = {}, product[4] = {};  // of each place in a window: four sums in flight
            const U* from = grad;
            for (long r = 0; r < h; r += 2)
                for (long c = 0; c < w; c += 2, from += step) {
                    const vec quarter = load(from) * same(0.25f);
                    for (int i = 0; i < 4; i++) {
                        const vec d = load(y + ((r + i / 2) * w + c + i % 2) * stride) - mean;
                        const auto off = d * by + beta <= 0;
                        sum[i] = off ? sum[i] : sum[i] + quarter;
                        product[i] = off ? product[i] : product[i] + quarter * d;
                    }
                }
            g[v] += (sum[0] + sum[1]) + (sum[2] + sum[3]);
            gd[v] += (product[0] + product[1]) + (product[2] + product[3]);
        }
    }

    void add(float* d_gamma, float* d_beta) const {
        for (int v = 0; v < 2; v++, d_gamma += LANES, d_beta += LANES) {
            store(d_gamma, load(d_gamma) + gd[v] * n.rstd[v]);
            store(d_beta, load(d_beta) + g[v]);
        }
    }

    void over(long pixels) {
        for (int v = 0; v < 2; v++) {
            less[v] = scale(v) * g[v] / same(pixels);
            slope[v] = scale(v) * n.rstd[v] * n.rstd[v] * gd[v] / same(pixels);
        }
    }

    void all(long pixels, const float* d_gamma, const float* d_beta) {
        for (int v = 0; v < 2; v++, d_gamma += LANES, d_beta += LANES) {
            less[v] = scale(v) * load(d_beta) / same(pixels);
            slope[v] = scale(v) * n.rstd[v] * load(d_gamma) / same(pixels);
        }
    }

    // Gives put(pixel, v, a, b) the gradients of two neighbouring pixels.
    template <class T, class U, class Put>
    void put(const T* y, long h, long w, long stride, bool centred, const U* grad, long step,
             Put put) const {
        for (int v = 0; v < 2; v++, y += LANES, grad += LANES) {
            const vec mean = centred ? vec{} : n.mean[v], by = scale(v), beta = n.beta[v];
            const vec closed = -less[v], quarter = by * same(0.25f), minus = -slope[v];
            const U* from = grad;
            for (long r = 0; r < h; r += 2)
                for (long c = 0; c < w; c += 2, from += step) {
                    const vec open = load(from) * quarter + closed;
                    for (int i = 0; i < 2; i++) {
                        const long p = (r + i) * w + c;
                        const vec a = load(y + p * stride) - mean;
                        const vec b = load(y + (p + 1) * stride) - mean;
                        put(p, v, (a * by + beta <= 0 ? closed : open) + a * minus,
                            (b * by + beta <= 0 ? closed : open) + b * minus);
                    }
                }
        }
    }
};

Norm parameters(const float* gamma, const float* beta, long first) {
    Norm n = {};
    for (int v = 0; v < 2; v++) {
        n.gamma[v] = load(gamma + first + v * LANES);
        n.beta[v] = load(beta + first + v * LANES);
    }
    return n;
}

void keep(const vec* mean, const vec* spread, float* moments) {  // [2][GROUP]
    for (int v = 0; v < 2; v++) {
        store(moments + v * LANES, mean[v]);
        store(moments + GROUP + v * LANES, spread[v]);
    }
}

void recall(Norm& n, const float* moments) {
    for (int v = 0; v < 2; v++) {
        n.mean[v] = load(moments + v * LANES);
        n.rstd[v] = load(moments + GROUP + v * LANES);
    }
}

struct Shape {
    long images, c_in, side_h, side_w, padding, channels;
    long h() const { return side_h + 2 * padding - 2; }
    long w() const { return side_w + 2 * padding - 2; }
    long taps() const { return 9 * c_in; }
};

// The first convolution in float32: images with a border of zeros, each tap times two registers of
// weights, into PIXELS x 2 running sums.
struct Float {
    typedef float map;
    static constexpr bool TWICE = false;  // is it cheaper to compute a map again than to keep it?
    Shape s;
    long pitch, plane;
    buffer<float> padded, packed;  // [c_in][h + 2][w + 2], [group][K][GROUP]
    std::vector<long> offset;           // of each tap in the padded image
    buffer<float> d_rows;          // dL/dy of some rows of one group

    Float(const Shape& shape, const float* weight)
        : s(shape), pitch(s.w() + 2), plane(pitch * (s.h() + 2)), padded(s.c_in * plane),
          packed(s.channels * s.taps()), d_rows(4 * s.w() * GROUP) {
        for (int ky = 0; ky < 3; ky++)
            for (int kx = 0; kx < 3; kx++)
                for (long c = 0; c < s.c_in; c++) {
                    const long k = offset.size(), source = c * 9 + ky * 3 + kx;
                    offset.push_back(c * plane + ky * pitch + kx);
                    for (long o = 0; o < s.channels; o++)
                        packed[(o / GROUP * s.taps() + k) * GROUP + o % GROUP] =
                            weight[o * s.taps() + source];
                }
    }

    void image(const float* from) {
        for (long c = 0; c < s.c_in; c++)
            for (long r = 0; r < s.side_h; r++, from += s.side_w)
                std::memcpy(&padded[c * plane + (r + s.padding) * pitch + s.padding], from,
                            s.side_w * sizeof(float));
    }

    // `count` rows from row `first` on into y [count * w][GROUP], less `mean`.
    void convolve(long group, long first, long count, const vec* mean, float* y) {
        const float* weights = &packed[group * s.taps() * GROUP];
        for (long r = first; r < first + count; r++)
            for (long x = 0; x < s.w(); x += PIXELS, y += PIXELS * GROUP) {
                const float* corner = &padded[r * pitch + x];
                vec sum[PIXELS][2];
                for (auto& pixel : sum)
                    for (int v = 0; v < 2; v++) pixel[v] = -mean[v];
                for (long k = 0; k < s.taps(); k++) {
                    const float* in = corner + offset[k];
                    const vec w0 = load(weights + k * GROUP);
                    const vec w1 = load(weights + k * GROUP + LANES);
                    for (int p = 0; p < PIXELS; p++) {
                        sum[p][0] += same(in[p]) * w0;
                        sum[p][1] += same(in[p]) * w1;
                    }
                }
                for (int p = 0; p < PIXELS; p++)
                    for (int v = 0; v < 2; v++) store(y + p * GROUP + v * LANES, sum[p][v]);
            }
    }

    void before_gradient() {}

    // Adds dL/dweight [K][GROUP] of some rows; y is less its mean.
    void weight_gradient(long first, long count, const float* y, const Gradient& g,
                         const float* grad, float* out) {
        const long w = s.w();
        float* to = d_rows.data();
        g.put(y, count, w, GROUP, true, grad, s.channels, [=](long p, int v, vec a, vec b) {
            store(to + p * GROUP + v * LANES, a);
            store(to + (p + 1) * GROUP + v * LANES, b);
        });
        for (long k = 0; k < s.taps(); k += TAPS) {
            vec sum[TAPS][2];
            for (int t = 0; t < TAPS; t++)
                for (int v = 0; v < 2; v++) sum[t][v] = load(out + (k + t) * GROUP + v * LANES);
            for (long i = 0; i < count; i++) {
                const float* in[TAPS];
                for (int t = 0; t < TAPS; t++) in[t] = &padded[(first + i) * pitch + offset[k + t]];
                for (long x = 0; x < w; x++) {
                    const float* at = to + (i * w + x) * GROUP;
                    const vec d0 = load(at), d1 = load(at + LANES);
                    for (int t = 0; t < TAPS; t++) {
                        sum[t][0] += same(in[t][x]) * d0;
                        sum[t][1] += same(in[t][x]) * d1;
                    }
                }
            }
            for (int t = 0; t < TAPS; t++)
                for (int v = 0; v < 2; v++) store(out + (k + t) * GROUP + v * LANES, sum[t][v]);
        }
    }
};

#ifdef BF16
#include "tiles.h"
#endif

template <class Conv>
void first_forward(Pass pass, const Shape& s, const float* images, const float* weight,
                   const float* gamma, const float* beta, float eps, typename Conv::map* out,
                   float* kept) {
    Conv conv(s, weight);
    const long h = s.h(), w = s.w(), rows = rows_at_once(w);
    const bool again = Conv::TWICE || pass != EACH;
    const vec zero[2] = {};
    buffer<float> y((again ? rows : h) * w * GROUP);
    for (long i = 0; i < s.images; i++) {
        conv.image(images + i * s.c_in * s.side_h * s.side_w);
        for (long o = 0; o < s.channels; o += GROUP) {
            Norm n = parameters(gamma, beta, o);
            if (pass == GIVEN) {
                recall(n, kept + o * 2);
            } else {
                Moments moments;
                for (long r = 0; r < h; r += rows) {
                    float* at = &y[again ? 0 : r * w * GROUP];
                    conv.convolve(o / GROUP, r, rows, zero, at);
                    moments.rows(at, rows * w, GROUP, r == 0);
                }
                vec variance[2];
                moments.finish(h * w, n.mean, variance);
                n.spread(variance, eps);
                keep(n.mean, pass == GATHER ? variance : n.rstd, kept + (i * s.channels + o) * 2);
                if (pass == GATHER) continue;
            }
            for (long r = 0; r < h; r += rows) {
                float* at = &y[again ? 0 : r * w * GROUP];
                if (again) conv.convolve(o / GROUP, r, rows, zero, at);
                auto* to = out + (i * h + r) * w / 4 * s.channels + o;
                normalise_and_pool(at, rows, w, GROUP, n, to, s.channels);
            }
        }
    }
}

template <class Conv>
void first_backward(Pass pass, const Shape& s, const float* images, const float* weight,
                    const float* gamma, const float* beta, const float* kept,
                    const typename Conv::map* grad, float* d_weight, float* d_gamma,
                    float* d_beta) {
    Conv conv(s, weight);
    const long h = s.h(), w = s.w(), rows = rows_at_once(w), K = s.taps();
    const bool again = Conv::TWICE || pass != EACH;
    buffer<float> y((again ? rows : h) * w * GROUP), total(s.channels * K), one(K * GROUP);
    for (long i = 0; i < s.images; i++) {
        conv.image(images + i * s.c_in * s.side_h * s.side_w);
        if (pass != GATHER) conv.before_gradient();
        for (long o = 0; o < s.channels; o += GROUP) {
            Norm n = parameters(gamma, beta, o);
            recall(n, kept + ((pass == EACH ? i : 0) * s.channels + o) * 2);
            Gradient g{n};
            const auto* from = grad + i * h * w / 4 * s.channels + o;
            if (pass == GIVEN) {
                g.all(s.images * h * w, d_gamma + o, d_beta + o);
            } else {
                for (long r = 0; r < h; r += rows) {
                    float* at = &y[again ? 0 : r * w * GROUP];
                    conv.convolve(o / GROUP, r, rows, n.mean, at);
                    g.rows(at, rows, w, GROUP, true, from + r * w / 4 * s.channels, s.channels);
                }
                g.add(d_gamma + o, d_beta + o);
                if (pass == GATHER) continue;
                g.over(h * w);
            }
            one.assign(K * GROUP, 0);  // an image's own sum first: less rounding than one long sum
            for (long r = 0; r < h; r += rows) {
                float* at = &y[again ? 0 : r * w * GROUP];
                if (again) conv.convolve(o / GROUP, r, rows, n.mean, at);
                conv.weight_gradient(r, rows, at, g, from + r * w / 4 * s.channels, one.data());
            }
            for (long j = 0; j < K * GROUP; j++) total[o * K + j] += one[j];
        }
    }
    if (pass == GATHER) return;
    for (long o = 0; o < s.channels; o++)
        for (long k = 0; k < K; k++)
            d_weight[o * K + k % s.c_in * 9 + k / s.c_in] =
                total[o / GROUP * GROUP * K + k * GROUP + o % GROUP];
}

template <class T>
void later_forward(Pass pass, long images, long h, long w, long channels, const T* y,
                   const float* gamma, const float* beta, float eps, T* out, float* kept) {
    for (long i = 0; i < images; i++)
        for (long o = 0; o < channels; o += GROUP) {
            Norm n = parameters(gamma, beta, o);
            const T* from = y + i * h * w * channels + o;
            if (pass == GIVEN) {
                recall(n, kept + o * 2);
            } else {
                Moments moments;
                for (long r = 0; r < h; r += 2)
                    moments.rows(from + r * w * channels, 2 * w, channels, r == 0);
                vec variance[2];
                moments.finish(h * w, n.mean, variance);
                n.spread(variance, eps);
                keep(n.mean, pass == GATHER ? variance : n.rstd, kept + (i * channels + o) * 2);
                if (pass == GATHER) continue;
            }
            T* to = out + i * h * w / 4 * channels + o;
            normalise_and_pool(from, h, w, channels, n, to, channels);
        }
}

template <class T>
void later_backward(Pass pass, long images, long h, long w, long channels, const T* y,
                    const float* gamma, const float* beta, const float* kept, const T* grad,
                    T* d_y, float* d_gamma, float* d_beta) {
    for (long i = 0; i < images; i++)
        for (long o = 0; o < channels; o += GROUP) {
            Norm n = parameters(gamma, beta, o);
            recall(n, kept + ((pass == EACH ? i : 0) * channels + o) * 2);
            Gradient g{n};
            const T* at = y + i * h * w * channels + o;
            const T* from = grad + i * h * w / 4 * channels + o;
            if (pass == GIVEN) {
                g.all(images * h * w, d_gamma + o, d_beta + o);
            } else {
                for (long r = 0; r < h; r += 2)
                    g.rows(at + r * w * channels, 2, w, channels, false,
                           from + r * w / 4 * channels, channels);
                g.add(d_gamma + o, d_beta + o);
                if (pass == GATHER) continue;
                g.over(h * w);
            }
            T* to = d_y + i * h * w * channels + o;
            g.put(at, h, w, channels, false, from, channels, [=](long p, int v, vec a, vec b) {
                store(to + p * channels + v * LANES, a);
                store(to + (p + 1) * channels + v * LANES, b);
            });
        }
}

}  // namespace

#ifdef BF16
extern "C" void later_weights_bf16(long images, long h, long w, long channels, const bf16* maps,
                                   const bf16* d_y, float* d_weight) {
    Tiles::configure();
    LaterWeights weights(h, w, channels);
    const long step = weights.together, size = h * w * channels;
    for (long i = 0; i < images; i += step) {
        const long count = images - i < step ? images - i : step;
        weights.inputs(maps + i * size, count);
        weights.gradients(d_y + i * size, count);
        Tiles::written();
        weights.add(d_weight, i == 0);
    }
    _tile_release();
}
#endif

// What Python calls. d_gamma and d_beta are added to, but for GIVEN, which reads them.
#define EXPORT(SUFFIX, CONV, T)                                                                    \
    extern "C" void first_forward_##SUFFIX(                                                        \
        long pass, const Shape* s, const float* images, const float* weight, const float* gamma,   \
        const float* beta, float eps, T* out, float* kept) {                                       \
        first_forward<CONV>(Pass(pass), *s, images, weight, gamma, beta, eps, out, kept);          \
    }                                                                                              \
    extern "C" void first_backward_##SUFFIX(                                                       \
        long pass, const Shape* s, const float* images, const float* weight, const float* gamma,   \
        const float* beta, const float* kept, const T* grad, float* d_weight, float* d_gamma,      \
        float* d_beta) {                                                                           \
        first_backward<CONV>(Pass(pass), *s, images, weight, gamma, beta, kept, grad, d_weight,    \
                             d_gamma, d_beta);                                                     \
    }                                                                                              \
    extern "C" void later_forward_##SUFFIX(                                                        \
        long pass, long images, long h, long w, long channels, const T* y, const float* gamma,     \
        const float* beta, float eps, T* out, float* kept) {                                       \
        later_forward(Pass(pass), images, h, w, channels, y, gamma, beta, eps, out, kept);         \
    }                                                                                              \
    extern "C" void later_backward_##SUFFIX(                                                       \
        long pass, long images, long h, long w, long channels, const T* y, const float* gamma,     \
        const float* beta, const float* kept, const T* grad, T* d_y, float* d_gamma,               \
        float* d_beta) {                                                                           \
        later_backward(Pass(pass), images, h, w, channels, y, gamma, beta, kept, grad, d_y,        \
                       d_gamma, d_beta);                                                           \
    }

EXPORT(fp32, Float, float)
#ifdef BF16
EXPORT(bf16, Tiles, bf16)
#endif

// Channels that one group holds.
extern "C" long group() { return GROUP; }

// Whether bfloat16 runs here: compiled in, and the kernel lets this process use tiles.
extern "C" int tiles() {
#ifdef BF16
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
#else
    return 0;
#endif
}
