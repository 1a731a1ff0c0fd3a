// Training and evaluation of one Network (generated, see generate.py): many steps per call, no state between calls.
#pragma once
#include <cstdlib>
#include <new>
#include <vector>

#include "layers.hpp"

enum Optimizer { sgd, adam, rmsprop };

struct Settings {  // of one run; the constants are those of zoo_builder/training/settings.py
    int32_t optimizer;
    float learning_rate, l2, momentum;
    double dropout;
};

// Divides one allocation into arrays; without memory, it only counts.
struct Memory {
    float* memory;
    size_t used = 0;
    template <class T>
    T* next(size_t floats) {
        float* chunk = memory ? memory + used : nullptr;
        used += (floats + 15) / 16 * 16;
        return reinterpret_cast<T*>(chunk);
    }
};

namespace {

struct Floats {  // zeros, on a cache line's boundary
    explicit Floats(size_t count) : size((count + 15) / 16 * 16), data(new (std::align_val_t(64)) float[size]()) {}
    ~Floats() { operator delete[](data, std::align_val_t(64)); }
    Floats(const Floats&) = delete;
    size_t size;
    float* data;
};

template <class Network>
struct Model {
    Network network;
    int capacity;  // examples of a chunk
    Floats weights, gradient, partial, running, memory;

    explicit Model(int most)
        : capacity(most), weights(Network::PACKED), gradient(Network::PACKED), partial(Network::PACKED),
          running(Network::RUNNING), memory(network.place(nullptr, most)) {
        network.place(memory.data, most);
    }

    void take(const float* flat_weights, const float* buffers) {
        Network::pack(flat_weights, weights.data);
        Network::pack_running(buffers, running.data);
        network.transpose(weights.data);
    }

    void load_images(const uint8_t* images, const int64_t* indices, int n) {
        using In = typename Network::Input;
        constexpr size_t PIXELS = size_t(In::CHANNELS) * In::H * In::W;
        for (int i = 0; i < n; i++) load_pixels<In>(images + indices[i] * PIXELS, network.input() + i * In::SIZE);
    }

    // Mean loss of a batch; leaves its gradient, packed.
    double differentiate(const uint8_t* images, const int64_t* labels, const int64_t* indices, int batch,
                         const DropoutStep& dropout, const uint64_t* seeds, bool training) {
        clear(gradient);
        clear(partial);
        std::vector<int64_t> chosen(capacity);
        double loss = 0;
        for (int first = 0; first < batch; first += capacity) {
            int n = std::min(capacity, batch - first);
            load_images(images, indices + first, n);
            for (int i = 0; i < n; i++) chosen[i] = labels[indices[first + i]];
            network.forward(weights.data, running.data, dropout, seeds, training, first, n);
            loss += cross_entropy<typename Network::Output>(network.output(), chosen.data(), network.output_grad(),
                                                            1.0f / batch, n);
            network.backward(weights.data, partial.data, dropout, training, n);
            // Summed in groups of examples, then over groups: one long sum in float32 would lose digits.
            if ((first + n) / GROUP > first / GROUP || first + n == batch) {
                for (size_t i = 0; i < gradient.size; i++) gradient.data[i] += partial.data[i];
                clear(partial);
            }
        }
        return loss / batch;
    }

   private:
    static constexpr int GROUP = 32;
    static void clear(Floats& values) { std::memset(values.data, 0, values.size * sizeof(float)); }
};

DropoutStep dropout_step(double rate, uint64_t step) {
    double dropped = std::min(std::nearbyint(rate * 65536), 65535.0);
    return {rate > 0, int16_t(dropped - 32768), float(65536 / (65536 - dropped)), step};
}

// The rules of torch.optim; ``step`` counts from 1. One vector at a time, padding included: its gradients are 0.
void update(const Settings& run, float* weights, const float* gradient, float* first, float* second, size_t size,
            uint64_t step) {
    const float bias1 = float(1 - std::pow(0.9, double(step))), bias2 = float(1 - std::pow(0.999, double(step)));
    const float root2 = std::sqrt(bias2), rate = run.optimizer == adam ? run.learning_rate / bias1 : run.learning_rate;
    auto square_root = [](Vector x) {
        for (int lane = 0; lane < LANES; lane++) x[lane] = std::sqrt(x[lane]);
        return x;
    };
    for (size_t i = 0; i < size; i += LANES) {
        Vector w = load(weights + i), decayed = load(gradient + i) + run.l2 * w, m = load(first + i);
        if (run.optimizer == sgd) {
            m = m * run.momentum + decayed;
            w -= run.learning_rate * m;
        } else if (run.optimizer == adam) {
            Vector v = load(second + i);
            m += 0.1f * (decayed - m);
            v = v * 0.999f + decayed * decayed * 0.001f;
            w -= rate * m / (square_root(v) / root2 + 1e-8f);
            store(second + i, v);
        } else {
            Vector v = load(second + i) * 0.99f + decayed * decayed * 0.01f;
            m = m * run.momentum + decayed / (square_root(v) + 1e-8f);
            w -= run.learning_rate * m;
            store(second + i, v);
        }
        store(weights + i, w);
        store(first + i, m);
    }
}

template <class Network>
int examples_at_once(int64_t batch) {
    return int(Network::WHOLE_BATCHES ? batch : std::min<int64_t>(Network::CHUNK, batch));
}

}  // namespace

// Runs through order[0 .. count - 1] once, in batches; everything that is trained is updated in place. Ends before the
// first step whose loss is not finite, and returns the number of steps taken.
template <class Network>
int64_t train(const Settings& run, const uint64_t* seeds, float* weights, float* buffers, float* first, float* second,
              const uint8_t* images, const int64_t* labels, const int64_t* order, int64_t count, int64_t batch,
              int64_t steps_before) {
    Model<Network> model(examples_at_once<Network>(std::min(batch, count)));
    Floats first_packed(Network::PACKED), second_packed(Network::PACKED);
    model.take(weights, buffers);
    Network::pack(first, first_packed.data);
    Network::pack(second, second_packed.data);
    int64_t steps = 0;
    for (int64_t start = 0; start < count; start += batch) {
        DropoutStep dropout = dropout_step(run.dropout, steps_before + steps);
        int here = int(std::min(batch, count - start));
        double loss = model.differentiate(images, labels, order + start, here, dropout, seeds, true);
        if (!std::isfinite(loss)) break;
        steps++;
        update(run, model.weights.data, model.gradient.data, first_packed.data, second_packed.data, Network::PACKED,
               steps_before + steps);
        model.network.transpose(model.weights.data);
    }
    Network::unpack(model.weights.data, weights);
    Network::unpack_running(model.running.data, buffers);
    Network::unpack(first_packed.data, first);
    Network::unpack(second_packed.data, second);
    return steps;
}

// The mean loss of one batch and its gradient; running statistics are moved while training, as in a step.
template <class Network>
double differentiate(double rate, const uint64_t* seeds, int64_t step, const float* weights, float* buffers,
                     const uint8_t* images, const int64_t* labels, const int64_t* indices, int64_t count, bool training,
                     float* gradient) {
    Model<Network> model(examples_at_once<Network>(count));
    model.take(weights, buffers);
    double loss = model.differentiate(images, labels, indices, int(count), dropout_step(rate, step), seeds, training);
    Network::unpack(model.gradient.data, gradient);
    Network::unpack_running(model.running.data, buffers);
    return loss;
}

// In eval mode.
template <class Network>
void evaluate(const float* weights, const float* buffers, const uint8_t* images, const int64_t* indices, int64_t count,
              float* logits) {
    Model<Network> model(int(std::min<int64_t>(Network::CHUNK, count)));
    model.take(weights, buffers);
    for (int64_t start = 0; start < count; start += model.capacity) {
        int n = int(std::min<int64_t>(model.capacity, count - start));
        model.load_images(images, indices + start, n);
        model.network.forward(model.weights.data, model.running.data, DropoutStep{}, nullptr, false, 0, n);
        for (int i = 0; i < n; i++)
            std::copy_n(model.network.output() + i * Network::Output::SIZE, Network::CLASSES,
                        logits + (start + i) * Network::CLASSES);
    }
}

// A negative result, which is otherwise impossible, means out of memory: no exception may reach the caller.
#define EXPORT(Network)                                                                                               \
    extern "C" int64_t gengap_train(const Settings* run, const uint64_t* seeds, float* weights, float* buffers,        \
                                    float* first, float* second, const uint8_t* images, const int64_t* labels,         \
                                    const int64_t* order, int64_t count, int64_t batch, int64_t steps_before) try {    \
        return train<Network>(*run, seeds, weights, buffers, first, second, images, labels, order, count, batch,       \
                              steps_before);                                                                           \
    } catch (const std::bad_alloc&) {                                                                                  \
        return -1;                                                                                                     \
    }                                                                                                                  \
    extern "C" double gengap_differentiate(double rate, const uint64_t* seeds, int64_t step, const float* weights,     \
                                           float* buffers, const uint8_t* images, const int64_t* labels,               \
                                           const int64_t* indices, int64_t count, int32_t training,                    \
                                           float* gradient) try {                                                      \
        return differentiate<Network>(rate, seeds, step, weights, buffers, images, labels, indices, count, training,   \
                                      gradient);                                                                       \
    } catch (const std::bad_alloc&) {                                                                                  \
        return -1;                                                                                                     \
    }                                                                                                                  \
    extern "C" int32_t gengap_evaluate(const float* weights, const float* buffers, const uint8_t* images,              \
                                       const int64_t* indices, int64_t count, float* logits) try {                     \
        evaluate<Network>(weights, buffers, images, indices, count, logits);                                           \
        return 0;                                                                                                      \
    } catch (const std::bad_alloc&) {                                                                                  \
        return -1;                                                                                                     \
    }
