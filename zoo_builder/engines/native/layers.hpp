// The layers of a network, forward and backward, for n examples of one model at a time.
//
// Everything fits in one core's cache: images are channels-last, with channels padded to the vector width, so that an
// output position is a few vectors and an input value is a broadcast. All shapes are compile-time constants.
// Padding channels hold finite numbers; their weights and all gradients there are 0.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int LANES = 16, ACCUMULATORS = 24;
#elif defined(__AVX2__)
constexpr int LANES = 8, ACCUMULATORS = 12;
#elif defined(__aarch64__)
constexpr int LANES = 4, ACCUMULATORS = 24;
#else
constexpr int LANES = 4, ACCUMULATORS = 12;
#endif

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef int16_t Halves __attribute__((vector_size(4 * LANES)));     // 2 * LANES of them
typedef int16_t HalfVector __attribute__((vector_size(2 * LANES)));  // LANES of them

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 64")

static ALWAYS_INLINE Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
static ALWAYS_INLINE void store(float* p, Vector v) { *reinterpret_cast<Vector*>(p) = v; }
static ALWAYS_INLINE Vector broadcast(float x) { return Vector{} + x; }

constexpr int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }
constexpr int padded(int channels) { return round_up(channels, LANES); }

// Calls body(size, start) for 0 .. TOTAL - 1 cut into the fewest chunks of at most MOST, as even as possible; size is a
// compile-time constant.
template <int TOTAL, int MOST, class Body>
static ALWAYS_INLINE void in_chunks(Body body) {
    constexpr int CHUNKS = (TOTAL + MOST - 1) / MOST, SIZE = TOTAL / CHUNKS, LARGER = TOTAL % CHUNKS;
    for (int i = 0; i < LARGER; i++) body(std::integral_constant<int, SIZE + 1>{}, i * (SIZE + 1));
    for (int i = LARGER; i < CHUNKS; i++) body(std::integral_constant<int, SIZE>{}, i * SIZE + LARGER);
}

// The largest divisor of n that is at most ``most``, or 1.
constexpr int divisor(int n, int most) {
    while (most > 1 && n % most) most--;
    return std::max(most, 1);
}

// Vectors of a position that are held in registers together: with more, fewer positions would share each read of the
// weights, and those of wide layers come from the second-level cache.
constexpr int vectors_at_once(int vectors) { return vectors % 2 == 0 ? 2 : vectors % 3 == 0 ? 3 : 1; }

// ---- Elementary functions ----

static ALWAYS_INLINE Vector reciprocal(Vector x) {
#if defined(__AVX512F__)
    // One Newton step on 14 bits: the division unit is an order of magnitude slower.
    Vector y = (Vector)_mm512_rcp14_ps((__m512)x);
    return y + y * (1.0f - x * y);
#else
    return 1.0f / x;
#endif
}

static ALWAYS_INLINE Vector clamp(Vector x, float low, float high) {  // keeps NaN
    x = x < low ? broadcast(low) : x;
    return x > high ? broadcast(high) : x;
}

// coefficients[0] + coefficients[1] t + ...
template <int N>
static ALWAYS_INLINE Vector polynomial(Vector t, const float (&coefficients)[N]) {
    Vector value = broadcast(coefficients[N - 1]);
    UNROLL for (int i = N - 2; i >= 0; i--) value = value * t + coefficients[i];
    return value;
}

// x P(x^2) / Q(x^2) of the nearest x in [-bound, bound].
template <int P, int Q>
static ALWAYS_INLINE Vector odd_rational(Vector x, float bound, const float (&p)[P], const float (&q)[Q]) {
    x = clamp(x, -bound, bound);
    Vector t = x * x;
    return x * polynomial(t, p) * reciprocal(polynomial(t, q));
}

// Fitted to a relative error of 2.1e-8 up to 9.02, where tanh rounds to 1.
static ALWAYS_INLINE Vector tanh(Vector x) {
    constexpr float P[] = {0.9999999790874808f, 0.13379722127002686f, 0.0034940393062390823f, 2.0583551767102378e-05f,
                           1.3319156857017092e-08f};
    constexpr float Q[] = {1.0f, 0.4671303738761782f, 0.025871091814570348f, 0.00032831002608377355f,
                           7.762056835954272e-07f};
    return odd_rational(x, 9.02f, P, Q);
}

// Likewise to 1.9e-8 up to 3.93.
static ALWAYS_INLINE Vector erf(Vector x) {
    constexpr float P[] = {1.1283791454300538f,  0.19078170438372818f,    0.05279000087919115f,
                           0.003779515961479199f, 0.00028480617932910037f, 2.0419835371183152e-06f};
    constexpr float Q[] = {1.0f, 0.5024086035919547f, 0.11425663934553416f, 0.01499725226185656f,
                           0.0011651894062491208f, 3.800407875377979e-05f};
    return odd_rational(x, 3.93f, P, Q);
}

// 2^n e^r with |r| <= ln(2) / 2; the polynomial has a relative error of 2.6e-9.
static ALWAYS_INLINE Vector exp(Vector x) {
    x = clamp(x, -87.0f, 88.0f);
    Integers n = __builtin_convertvector(x * 1.44269504f + (x < 0.0f ? broadcast(-0.5f) : broadcast(0.5f)), Integers);
    Vector k = __builtin_convertvector(n, Vector);
    Vector r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    constexpr float P[] = {1.0f, 1.0f, 0.5000000107749375f, 0.1666641547723302f, 0.04166621827439628f,
                           0.008375128890561143f, 0.0013948580819853334f};
    Vector p = polynomial(r, P);
    return x == x ? (Vector)((Integers)p + (n << 23)) : x;
}

// ---- Images ----

// The layout of an image in memory: (channel, y, x) at FIRST + channel * CHANNEL + y * ROW + x * POSITION.
template <int CHANNELS_, int H_, int W_, int PAD_, bool PLANAR = false>
struct Image {
    static constexpr int CHANNELS = CHANNELS_, H = H_, W = W_, PAD = PAD_;
    static constexpr int WIDTH = PLANAR ? CHANNELS : padded(CHANNELS), VECTORS = WIDTH / LANES;
    static constexpr int POSITION = PLANAR ? 1 : WIDTH, ROW = (W + 2 * PAD) * POSITION;
    static constexpr int CHANNEL = PLANAR ? (H + 2 * PAD) * ROW : 1;
    static constexpr int FIRST = PAD * (ROW + POSITION);
    static constexpr int SIZE = round_up((H + 2 * PAD) * (W + 2 * PAD) * WIDTH, LANES);

    // Calls body(offset) for every vector inside the border.
    template <class Body>
    static ALWAYS_INLINE void each(Body body) {
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W * WIDTH; x += LANES) body(FIRST + y * ROW + x);
    }
};

// Pixels 0 .. 255 -> [-1, 1].
template <class Out>
static void load_pixels(const uint8_t* pixels, float* out) {
    for (int c = 0; c < Out::CHANNELS; c++)
        for (int y = 0; y < Out::H; y++)
            for (int x = 0; x < Out::W; x++)
                out[Out::FIRST + c * Out::CHANNEL + y * Out::ROW + x] =
                    float(pixels[(c * Out::H + y) * Out::W + x]) * (1.0f / 127.5f) - 1.0f;
}

// ---- Convolution; a linear layer is one whose kernel covers its input ----

template <class In, class Out, int KH, int KW, int STRIDE, int PADDING>
struct Convolution {
    static constexpr int TAPS = KH * KW, IN = In::CHANNELS, OUT = Out::CHANNELS, OUT_PADDED = Out::WIDTH;
    // Packed: weights [ky][kx][in][out padded], then the bias.
    static constexpr int WEIGHTS = TAPS * IN * OUT_PADDED, PACKED = WEIGHTS + OUT_PADDED, FLAT = TAPS * IN * OUT + OUT;
    // The transposed copy that the backward pass reads: [ky][kx][out][in padded].
    static constexpr int TRANSPOSED = TAPS * OUT * padded(IN);
    static constexpr int CORNER = In::FIRST - PADDING * (In::ROW + In::POSITION);
    // With one output position per example, examples replace the rows of an image.
    static constexpr bool SINGLE = Out::H == 1 && Out::W == 1;
    static constexpr int IN_ROW = SINGLE ? In::SIZE : STRIDE * In::ROW, OUT_ROW = SINGLE ? Out::SIZE : Out::ROW;
    static constexpr int IN_STEP = STRIDE * In::POSITION, OUT_STEP = Out::POSITION;

    // Between torch's (out, in, ky, kx), then bias, and the packed layout.
    static void pack(const float* flat, float* packed) { permute(flat, packed, true); }
    static void unpack(const float* packed, float* flat) { permute(packed, flat, false); }

    static void transpose(const float* weights, float* transposed) {
        for (int tap = 0; tap < TAPS; tap++)
            for (int i = 0; i < IN; i += LANES)  // this many rows of the weights stay in cache while o runs along them
                for (int o = 0; o < OUT; o++) {
                    Vector column{};
                    for (int lane = 0; lane < std::min(LANES, IN - i); lane++)
                        column[lane] = weights[(tap * IN + i + lane) * OUT_PADDED + o];
                    store(transposed + (tap * OUT + o) * padded(IN) + i, column);
                }
    }

    static void forward(const float* weights, const float* in, float* out, int n) {
        constexpr int VECTORS = vectors_at_once(Out::VECTORS);
        for (int v = 0; v < Out::VECTORS; v += VECTORS)
            tiles<VECTORS>(n, [&](auto rows, auto columns, int in_at, int out_at) {
                forward_tile<rows, columns, VECTORS>(weights + v * LANES, in + CORNER + in_at,
                                                     out + Out::FIRST + out_at + v * LANES);
            });
    }

    // Adds to the gradient (packed like the weights); without ``bias``, to that of the weights only.
    static void backward_weights(const float* in, const float* grad, float* gradient, bool bias, int n) {
        constexpr int VECTORS = vectors_at_once(Out::VECTORS), MOST = ACCUMULATORS / VECTORS;
        // With few input channels, a tile covers several kernel columns or rows.
        constexpr int COLUMNS = divisor(KW, MOST / IN), ROWS = COLUMNS == KW ? divisor(KH, MOST / (KW * IN)) : 1;
        for (int v = 0; v < Out::VECTORS; v += VECTORS) {
            for (int ky = 0; ky < KH; ky += ROWS)
                for (int kx = 0; kx < KW; kx += COLUMNS)
                    in_chunks<IN, std::min(MOST, IN)>([&](auto channels, int i) {
                        weights_tile<ROWS, COLUMNS, channels, VECTORS>(
                            in + CORNER + ky * In::ROW + kx * In::POSITION + i * In::CHANNEL,
                            grad + Out::FIRST + v * LANES,
                            gradient + ((ky * KW + kx) * IN + i) * OUT_PADDED + v * LANES, n);
                    });
            if (bias) bias_tile<VECTORS>(grad + Out::FIRST + v * LANES, gradient + WEIGHTS + v * LANES, n);
        }
    }

    // Writes, or adds to, the gradient of the input.
    template <bool ADD>
    static void backward_input(const float* transposed, const float* grad, float* in_grad, int n) {
        // Every input is written once if no two windows overlap.
        constexpr bool COVERS = SINGLE && KH == In::H && KW == In::W, POINTWISE = TAPS == 1 && STRIDE == 1;
        constexpr bool ONCE = (COVERS || POINTWISE) && PADDING == 0 && !ADD;
        constexpr int VECTORS = vectors_at_once(In::VECTORS);
        if (!ADD && !ONCE) std::memset(in_grad, 0, sizeof(float) * In::SIZE * n);
        for (int ky = 0; ky < KH; ky++)
            for (int kx = 0; kx < KW; kx++)
                for (int v = 0; v < In::VECTORS; v += VECTORS)
                    tiles<VECTORS>(n, [&](auto rows, auto columns, int in_at, int out_at) {
                        input_tile<rows, columns, VECTORS, ONCE>(
                            transposed + (ky * KW + kx) * OUT * In::WIDTH + v * LANES, grad + Out::FIRST + out_at,
                            in_grad + CORNER + in_at + ky * In::ROW + kx * In::POSITION + v * LANES);
                    });
    }

   private:
    static void permute(const float* from, float* to, bool pack) {
        for (int o = 0; o < OUT; o++) {
            for (int i = 0; i < IN; i++)
                for (int tap = 0; tap < TAPS; tap++) {
                    int flat = (o * IN + i) * TAPS + tap, packed = (tap * IN + i) * OUT_PADDED + o;
                    pack ? to[packed] = from[flat] : to[flat] = from[packed];
                }
            int flat = OUT * IN * TAPS + o, packed = WEIGHTS + o;
            pack ? to[packed] = from[flat] : to[flat] = from[packed];
        }
    }

    // Cuts the output positions of n examples into tiles of rows x columns that fit the registers.
    template <int VECTORS, class Body>
    static ALWAYS_INLINE void tiles(int n, Body body) {
        constexpr int MOST = ACCUMULATORS / VECTORS;
        if constexpr (SINGLE) {
            int example = 0;
            auto take = [&](auto rows) {
                for (; example + rows <= n; example += rows)
                    body(rows, std::integral_constant<int, 1>{}, example * In::SIZE, example * Out::SIZE);
            };
            take(std::integral_constant<int, MOST>{});
            take(std::integral_constant<int, std::min(MOST, 4)>{});
            take(std::integral_constant<int, 1>{});
        } else {
            constexpr int COLUMNS = (Out::W + (Out::W + MOST - 1) / MOST - 1) / ((Out::W + MOST - 1) / MOST);
            for (int example = 0; example < n; example++)
                in_chunks<Out::H, MOST / COLUMNS>([&](auto rows, int y) {
                    in_chunks<Out::W, COLUMNS>([&](auto columns, int x) {
                        body(rows, columns, example * In::SIZE + y * IN_ROW + x * IN_STEP,
                             example * Out::SIZE + y * OUT_ROW + x * OUT_STEP);
                    });
                });
        }
    }

    template <int ROWS, int COLUMNS, int VECTORS>
    static ALWAYS_INLINE void forward_tile(const float* weights, const float* in, float* out) {
        Vector sum[ROWS][COLUMNS][VECTORS];
        UNROLL for (int r = 0; r < ROWS; r++)
            UNROLL for (int c = 0; c < COLUMNS; c++)
                UNROLL for (int v = 0; v < VECTORS; v++) sum[r][c][v] = load(weights + WEIGHTS + v * LANES);
        for (int ky = 0; ky < KH; ky++)
            for (int kx = 0; kx < KW; kx++) {
                const float* x = in + ky * In::ROW + kx * In::POSITION;
                for (int i = 0; i < IN; i++, weights += OUT_PADDED, x += In::CHANNEL) {
                    Vector w[VECTORS];
                    UNROLL for (int v = 0; v < VECTORS; v++) w[v] = load(weights + v * LANES);
                    UNROLL for (int r = 0; r < ROWS; r++)
                        UNROLL for (int c = 0; c < COLUMNS; c++) {
                            float value = x[r * IN_ROW + c * IN_STEP];
                            UNROLL for (int v = 0; v < VECTORS; v++) sum[r][c][v] += value * w[v];
                        }
                }
            }
        UNROLL for (int r = 0; r < ROWS; r++)
            UNROLL for (int c = 0; c < COLUMNS; c++)
                UNROLL for (int v = 0; v < VECTORS; v++) store(out + r * OUT_ROW + c * OUT_STEP + v * LANES, sum[r][c][v]);
    }

    // Sums over the positions of all n examples in registers first: fewer stores, and a smaller rounding error.
    template <int ROWS, int COLUMNS, int CHANNELS, int VECTORS>
    static ALWAYS_INLINE void weights_tile(const float* in, const float* grad, float* gradient, int n) {
        Vector sum[ROWS][COLUMNS][CHANNELS][VECTORS] = {};
        for (int example = 0; example < n; example++)
            for (int y = 0; y < Out::H; y++) {
                const float* x = in + example * In::SIZE + y * STRIDE * In::ROW;
                const float* s = grad + example * Out::SIZE + y * Out::ROW;
                for (int column = 0; column < Out::W; column++, x += IN_STEP, s += OUT_STEP) {
                    Vector values[VECTORS];
                    UNROLL for (int v = 0; v < VECTORS; v++) values[v] = load(s + v * LANES);
                    UNROLL for (int r = 0; r < ROWS; r++)
                        UNROLL for (int c = 0; c < COLUMNS; c++)
                            UNROLL for (int i = 0; i < CHANNELS; i++) {
                                float value = x[r * In::ROW + c * In::POSITION + i * In::CHANNEL];
                                UNROLL for (int v = 0; v < VECTORS; v++) sum[r][c][i][v] += value * values[v];
                            }
                }
            }
        UNROLL for (int r = 0; r < ROWS; r++)
            UNROLL for (int c = 0; c < COLUMNS; c++)
                UNROLL for (int i = 0; i < CHANNELS; i++)
                    UNROLL for (int v = 0; v < VECTORS; v++) {
                        float* g = gradient + ((r * KW + c) * IN + i) * OUT_PADDED + v * LANES;
                        store(g, load(g) + sum[r][c][i][v]);
                    }
    }

    template <int VECTORS>
    static ALWAYS_INLINE void bias_tile(const float* grad, float* gradient, int n) {
        Vector sum[VECTORS] = {};
        for (int example = 0; example < n; example++)
            for (int y = 0; y < Out::H; y++)
                for (int x = 0; x < Out::W; x++)
                    UNROLL for (int v = 0; v < VECTORS; v++)
                        sum[v] += load(grad + example * Out::SIZE + y * Out::ROW + x * OUT_STEP + v * LANES);
        UNROLL for (int v = 0; v < VECTORS; v++) store(gradient + v * LANES, load(gradient + v * LANES) + sum[v]);
    }

    template <int ROWS, int COLUMNS, int VECTORS, bool ONCE>
    static ALWAYS_INLINE void input_tile(const float* transposed, const float* grad, float* in_grad) {
        Vector sum[ROWS][COLUMNS][VECTORS];
        UNROLL for (int r = 0; r < ROWS; r++)
            UNROLL for (int c = 0; c < COLUMNS; c++)
                UNROLL for (int v = 0; v < VECTORS; v++)
                    sum[r][c][v] = ONCE ? Vector{} : load(in_grad + r * IN_ROW + c * IN_STEP + v * LANES);
        for (int o = 0; o < OUT; o++) {
            Vector w[VECTORS];
            UNROLL for (int v = 0; v < VECTORS; v++) w[v] = load(transposed + o * In::WIDTH + v * LANES);
            UNROLL for (int r = 0; r < ROWS; r++)
                UNROLL for (int c = 0; c < COLUMNS; c++) {
                    float value = grad[r * OUT_ROW + c * OUT_STEP + o];
                    UNROLL for (int v = 0; v < VECTORS; v++) sum[r][c][v] += value * w[v];
                }
        }
        UNROLL for (int r = 0; r < ROWS; r++)
            UNROLL for (int c = 0; c < COLUMNS; c++)
                UNROLL for (int v = 0; v < VECTORS; v++)
                    store(in_grad + r * IN_ROW + c * IN_STEP + v * LANES, sum[r][c][v]);
    }
};

// ---- Activations, in place ----

enum class Kind { relu, leaky_relu, tanh, sigmoid, gelu, silu };

template <class At, Kind KIND>
struct Activation {
    // The forward pass keeps the derivatives, unless the sign of the output determines them. (A dropped unit is not one
    // with output 0: dropout keeps its own mask, and its backward pass precedes this one.)
    static constexpr bool BY_SIGN = KIND == Kind::relu || KIND == Kind::leaky_relu;
    static constexpr int KEPT = BY_SIGN ? 0 : At::SIZE;

    static void forward(float* values, float* kept, int n) {
        for (int example = 0; example < n; example++, values += At::SIZE, kept += KEPT)
            At::each([&](int at) {
                Vector x = load(values + at), y, derivative;
                if constexpr (KIND == Kind::relu) y = x < 0.0f ? Vector{} : x;  // keeps NaN
                if constexpr (KIND == Kind::leaky_relu) y = x < 0.0f ? 0.01f * x : x;
                if constexpr (KIND == Kind::tanh) y = tanh(x), derivative = 1.0f - y * y;
                if constexpr (KIND == Kind::sigmoid) y = sigmoid(x), derivative = y * (1.0f - y);
                if constexpr (KIND == Kind::silu) {
                    Vector s = sigmoid(x);
                    y = x * s, derivative = s + y * (1.0f - s);
                }
                if constexpr (KIND == Kind::gelu) {
                    Vector cdf = 0.5f + 0.5f * erf(0.70710678f * x), density = exp(-0.5f * x * x) * 0.3989422804f;
                    y = x * cdf, derivative = cdf + x * density;
                }
                store(values + at, y);
                if constexpr (!BY_SIGN) store(kept + at, derivative);
            });
    }

    static void backward(float* grads, const float* values, const float* kept, int n) {
        for (int example = 0; example < n; example++, grads += At::SIZE, values += At::SIZE, kept += KEPT)
            At::each([&](int at) {
                Vector g = load(grads + at);
                if constexpr (BY_SIGN)
                    store(grads + at, load(values + at) > 0.0f ? g : (KIND == Kind::relu ? 0.0f : 0.01f) * g);
                else
                    store(grads + at, g * load(kept + at));
            });
    }

   private:
    static ALWAYS_INLINE Vector sigmoid(Vector x) { return reciprocal(1.0f + exp(-x)); }
};

// ---- Dropout, in place: the masks of zoo_builder/networks/dropout.py, bit for bit ----

static inline uint64_t mix64(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

static ALWAYS_INLINE Words mix32(Words x) {
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return x ^ (x >> 16);
}

struct DropoutStep {  // of one model
    bool active;
    int16_t threshold;  // a unit is kept if its 16 bits, as a signed number, reach it
    float scale;
    uint64_t step;
};

template <class At>
struct Dropout {
    static constexpr int PAIRS = (At::CHANNELS + 1) / 2, WORDS = At::H * At::W * PAIRS;
    // One int16 per unit, all ones if it is kept; the slack beyond the last position is read but not used.
    static constexpr int KEPT = round_up(2 * WORDS, 2 * LANES) + 2 * LANES;

    // first: the position in the batch of the first of these n examples.
    static void forward(float* values, int16_t* kept, const DropoutStep& dropout, uint64_t seed, int first, int n) {
        for (int example = 0; example < n; example++, values += At::SIZE, kept += KEPT) {
            uint64_t at = uint64_t(first + example) * 0xD1B54A32D192ED03ull;
            uint32_t key = mix64(seed + dropout.step * 0x9E3779B97F4A7C15ull + at) >> 32;
            Words unit;
            for (int lane = 0; lane < LANES; lane++) unit[lane] = lane * 0x9E3779B9u;
            for (int word = 0; word < WORDS; word += LANES, unit += LANES * 0x9E3779B9u) {
                Halves bits = (Halves)mix32(key ^ unit);
                *reinterpret_cast<Halves*>(kept + 2 * word) = bits >= dropout.threshold;
            }
            multiply(values, kept, dropout.scale);
        }
    }

    static void backward(float* grads, const int16_t* kept, const DropoutStep& dropout, int n) {
        for (int example = 0; example < n; example++, grads += At::SIZE, kept += KEPT)
            multiply(grads, kept, dropout.scale);
    }

   private:
    static ALWAYS_INLINE void multiply(float* values, const int16_t* kept, float scale) {
        for (int y = 0; y < At::H; y++)
            for (int x = 0; x < At::W; x++)
                for (int c = 0; c < At::WIDTH; c += LANES) {
                    HalfVector half;
                    std::memcpy(&half, kept + (y * At::W + x) * 2 * PAIRS + c, sizeof half);
                    float* at = values + At::FIRST + y * At::ROW + x * At::POSITION + c;
                    store(at, (Vector)((Integers)(load(at) * scale) & __builtin_convertvector(half, Integers)));
                }
    }
};

// ---- Pools and shortcuts ----

template <class In, class Out>
struct GlobalAveragePool {
    static void forward(const float* in, float* out, int n) {
        for (int example = 0; example < n; example++, in += In::SIZE, out += Out::SIZE)
            for (int c = 0; c < In::WIDTH; c += LANES) {
                Vector sum{};
                for (int y = 0; y < In::H; y++)
                    for (int x = 0; x < In::W; x++) sum += load(in + In::FIRST + y * In::ROW + x * In::POSITION + c);
                store(out + c, sum * (1.0f / (In::H * In::W)));
            }
    }

    static void backward(const float* grad, float* in_grad, int n) {
        for (int example = 0; example < n; example++, grad += Out::SIZE, in_grad += In::SIZE)
            for (int c = 0; c < In::WIDTH; c += LANES) {
                Vector share = load(grad + c) * (1.0f / (In::H * In::W));
                for (int y = 0; y < In::H; y++)
                    for (int x = 0; x < In::W; x++) store(in_grad + In::FIRST + y * In::ROW + x * In::POSITION + c, share);
            }
    }
};

template <class In, class Out, int SIZE>
struct MaxPool {
    static void forward(const float* in, float* out, int n) {
        windows(n, [&](int in_at, int out_at) {
            Vector largest = load(in + in_at);
            for (int y = 0; y < SIZE; y++)
                for (int x = 0; x < SIZE; x++) {
                    Vector value = load(in + in_at + y * In::ROW + x * In::POSITION);
                    largest = value <= largest ? largest : value;  // keeps NaN
                }
            store(out + out_at, largest);
        });
    }

    // The first of equal values gets the gradient, as in torch.
    static void backward(const float* in, const float* out, const float* grad, float* in_grad, int n) {
        std::memset(in_grad, 0, sizeof(float) * In::SIZE * n);
        windows(n, [&](int in_at, int out_at) {
            Vector largest = load(out + out_at), left = load(grad + out_at);
            for (int y = 0; y < SIZE; y++)
                for (int x = 0; x < SIZE; x++) {
                    int at = in_at + y * In::ROW + x * In::POSITION;
                    Integers here = load(in + at) == largest;
                    store(in_grad + at, here ? left : Vector{});
                    left = here ? Vector{} : left;
                }
        });
    }

   private:
    template <class Body>
    static ALWAYS_INLINE void windows(int n, Body body) {
        for (int example = 0; example < n; example++)
            for (int y = 0; y < Out::H; y++)
                for (int x = 0; x < Out::W; x++)
                    for (int c = 0; c < Out::WIDTH; c += LANES)
                        body(example * In::SIZE + In::FIRST + SIZE * (y * In::ROW + x * In::POSITION) + c,
                             example * Out::SIZE + Out::FIRST + y * Out::ROW + x * Out::POSITION + c);
    }
};

// Adds a subsampled earlier image with as many channels or fewer. The earlier image's padding channels are masked out.
template <class Earlier, class Later, int STRIDE>
struct Shortcut {
    static void forward(const float* earlier, float* later, int n) {
        each(n, [&](int from, int to, Vector mask) { store(later + to, load(later + to) + load(earlier + from) * mask); });
    }

    static void backward(const float* grad, float* earlier_grad, int n) {  // adds
        each(n, [&](int from, int to, Vector mask) {
            store(earlier_grad + from, load(earlier_grad + from) + load(grad + to) * mask);
        });
    }

   private:
    template <class Body>
    static ALWAYS_INLINE void each(int n, Body body) {
        for (int c = 0; c < Earlier::WIDTH; c += LANES) {
            Vector mask;
            for (int lane = 0; lane < LANES; lane++) mask[lane] = c + lane < Earlier::CHANNELS;
            for (int example = 0; example < n; example++)
                for (int y = 0; y < Later::H; y++)
                    for (int x = 0; x < Later::W; x++)
                        body(example * Earlier::SIZE + Earlier::FIRST + STRIDE * (y * Earlier::ROW + x * Earlier::POSITION) + c,
                             example * Later::SIZE + Later::FIRST + y * Later::ROW + x * Later::POSITION + c, mask);
        }
    }
};

// Between two layouts of one image.
template <class From, class To, bool ADD>
static void move(const float* from, float* to, int n) {
    for (int example = 0; example < n; example++, from += From::SIZE, to += To::SIZE)
        for (int y = 0; y < To::H; y++)
            for (int x = 0; x < To::W * To::WIDTH; x += LANES) {
                float* at = to + To::FIRST + y * To::ROW + x;
                Vector value = load(from + From::FIRST + y * From::ROW + x);
                store(at, ADD ? load(at) + value : value);
            }
}

// ---- Batch normalization, in place ----

// Sums over a whole batch for each channel, added up chunk by chunk.
template <int WIDTH>
struct ChannelSums {
    double first[WIDTH], second[WIDTH];
    float shift[WIDTH];  // subtracted from values before squaring, so that no digits are lost

    void clear() { std::memset(this, 0, sizeof *this); }
};

template <class At>
struct Norm {
    static constexpr int PACKED = 2 * At::WIDTH, FLAT = 2 * At::CHANNELS;  // weight, bias
    static constexpr int KEPT = At::SIZE;                                   // the normalized values of every example
    static constexpr float EPSILON = 1e-5f, MOMENTUM = 0.1f;
    using Sums = ChannelSums<At::WIDTH>;

    static void pack(const float* flat, float* packed) {
        for (int c = 0; c < At::CHANNELS; c++)
            packed[c] = flat[c], packed[At::WIDTH + c] = flat[At::CHANNELS + c];
    }
    static void unpack(const float* packed, float* flat) {
        for (int c = 0; c < At::CHANNELS; c++)
            flat[c] = packed[c], flat[At::CHANNELS + c] = packed[At::WIDTH + c];
    }

    // Adds n more examples to the sums for the statistics; ``begin`` for the first of a batch.
    static void gather(const float* values, Sums& sums, bool begin, int n) {
        if (begin) {
            sums.clear();
            for (int c = 0; c < At::WIDTH; c++) sums.shift[c] = values[At::FIRST + c];
        }
        for (int c = 0; c < At::WIDTH; c += LANES) {
            Vector shift;
            std::memcpy(&shift, sums.shift + c, sizeof shift);
            add(sums, c, n, [&](int at, Vector& first, Vector& second) {
                Vector off = load(values + at + c) - shift;
                first += off, second += off * off;
            });
        }
    }

    // The mean and one over the standard deviation of each channel, [2][WIDTH], by which ``forward`` normalizes: of the
    // batch of ``count`` examples, which also moves the running ones, or the running ones themselves.
    static void finish(const Sums& sums, float* running, float* moments, bool training, int count) {
        const double total = double(count) * At::H * At::W;
        for (int c = 0; c < At::WIDTH; c++) {
            float mean = running[c], variance = running[At::WIDTH + c];
            if (training) {
                double off = sums.first[c] / total, spread = std::max(0.0, sums.second[c] / total - off * off);
                mean = float(sums.shift[c] + off), variance = float(spread);
                float unbiased = float(spread * total / (total - 1));
                running[c] = (1 - MOMENTUM) * running[c] + MOMENTUM * mean;
                running[At::WIDTH + c] = (1 - MOMENTUM) * running[At::WIDTH + c] + MOMENTUM * unbiased;
            }
            moments[c] = mean, moments[At::WIDTH + c] = 1 / std::sqrt(variance + EPSILON);
        }
    }

    static void forward(const float* weights, const float* moments, float* values, float* kept, int n) {
        for (int c = 0; c < At::WIDTH; c += LANES) {
            Vector mean = load(moments + c), scale = load(moments + At::WIDTH + c);
            Vector weight = load(weights + c), bias = load(weights + At::WIDTH + c);
            positions(n, [&](int at) {
                Vector normal = (load(values + at + c) - mean) * scale;
                store(kept + at + c, normal);
                store(values + at + c, normal * weight + bias);
            });
        }
    }

    // Adds n more examples to the gradients of bias (first) and weight (second).
    static void gather_grads(const float* grads, const float* kept, Sums& sums, bool begin, int n) {
        if (begin) sums.clear();
        for (int c = 0; c < At::WIDTH; c += LANES)
            add(sums, c, n, [&](int at, Vector& first, Vector& second) {
                Vector grad = load(grads + at + c);
                first += grad, second += grad * load(kept + at + c);
            });
    }

    static void add_gradient(const Sums& sums, float* gradient) {
        for (int c = 0; c < At::WIDTH; c++)
            gradient[c] += float(sums.second[c]), gradient[At::WIDTH + c] += float(sums.first[c]);
    }

    static void backward(const float* weights, const float* moments, const float* kept, const Sums& sums, float* grads,
                         bool training, int count, int n) {
        const double share = training ? 1 / (double(count) * At::H * At::W) : 0;
        for (int c = 0; c < At::WIDTH; c += LANES) {
            Vector bias, weight, scale = load(weights + c) * load(moments + At::WIDTH + c);
            for (int lane = 0; lane < LANES; lane++)
                bias[lane] = float(sums.first[c + lane] * share), weight[lane] = float(sums.second[c + lane] * share);
            positions(n, [&](int at) {
                store(grads + at + c, scale * (load(grads + at + c) - bias - load(kept + at + c) * weight));
            });
        }
    }

   private:
    template <class Body>
    static ALWAYS_INLINE void positions(int n, Body body) {
        for (int example = 0; example < n; example++)
            for (int y = 0; y < At::H; y++)
                for (int x = 0; x < At::W; x++) body(example * At::SIZE + At::FIRST + y * At::ROW + x * At::POSITION);
    }

    // Row by row in float, then in double: one sum of hundreds of thousands of terms in float would lose digits.
    template <class Body>
    static ALWAYS_INLINE void add(Sums& sums, int c, int n, Body body) {
        typedef double Doubles __attribute__((vector_size(8 * LANES)));
        Doubles first{}, second{};
        for (int example = 0; example < n; example++)
            for (int y = 0; y < At::H; y++) {
                Vector row_first{}, row_second{};
                for (int x = 0; x < At::W; x++)
                    body(example * At::SIZE + At::FIRST + y * At::ROW + x * At::POSITION, row_first, row_second);
                first += __builtin_convertvector(row_first, Doubles);
                second += __builtin_convertvector(row_second, Doubles);
            }
        for (int lane = 0; lane < LANES; lane++)
            sums.first[c + lane] += first[lane], sums.second[c + lane] += second[lane];
    }
};

// ---- Loss ----

// The sum over n examples of -log softmax(logits)[label]; grads become share * (softmax - one-hot).
template <class At>
static double cross_entropy(const float* logits, const int64_t* labels, float* grads, float share, int n) {
    double total = 0;
    for (int example = 0; example < n; example++, logits += At::SIZE, grads += At::SIZE) {
        float largest = logits[0];
        for (int c = 1; c < At::CHANNELS; c++) largest = std::max(largest, logits[c]);
        float sum = 0;
        for (int c = 0; c < At::WIDTH; c += LANES) store(grads + c, exp(load(logits + c) - largest));
        for (int c = At::CHANNELS; c < At::WIDTH; c++) grads[c] = 0;
        for (int c = 0; c < At::CHANNELS; c++) sum += grads[c];
        int label = int(labels[example]);
        total += std::log(sum) - (logits[label] - largest);
        for (int c = 0; c < At::WIDTH; c += LANES) store(grads + c, load(grads + c) * (share / sum));
        grads[label] -= share;
    }
    return total;
}
