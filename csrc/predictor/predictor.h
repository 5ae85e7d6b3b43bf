// An exported network, ready to predict: RAII over MXNet's C predict API.
//
// Installed as <gluon_resnet/predictor.h>; it needs only the standard library. libmxnet.so is
// loaded when the first Predictor is made, from where it was at build time, or from the path in the
// environment variable GLUON_RESNET_MXNET_LIBRARY.
#ifndef GLUON_RESNET_PREDICTOR_H_
#define GLUON_RESNET_PREDICTOR_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#define GLUON_RESNET_API __attribute__((visibility("default")))

namespace gluon_resnet {

// What one needs to know about a model besides its graph and parameters.
struct ModelCard {
  std::vector<std::string> classes;      // in the order of the outputs; empty: numbers
  int size = 224;                        // side of the centre crop, in pixels
  int resize = 0;                        // shorter side before the crop, in pixels; 0: as it is
  std::string interpolation = "linear";  // or nearest, cubic, area, lanczos
};

// Reads PREFIX-model.json. Throws std::runtime_error, with the path, unless it describes classes
// and an evaluation transform.
GLUON_RESNET_API ModelCard read_card(const std::string& path);

// Sets how many predictors of this process compute in parallel, and with how many OpenMP threads
// each. By default one predictor uses all processors that the process may use (affinity, control
// groups). More than `predictors` predictors work correctly, too, but wait for each other.
//
// MXNet reads this when it is loaded, so calling it after the first Predictor throws
// std::runtime_error. MXNET_CPU_WORKER_NTHREADS and OMP_NUM_THREADS in the environment take
// precedence.
GLUON_RESNET_API void share_processors(int predictors, int threads_each);

// Computes on the CPU, in one thread at a time, except for preprocess(). Make one in each thread
// that is to predict: each has its own weights, because the predictors that
// MXPredCreateMultiThread makes over shared weights also share their input, and overwrite each
// other's images.
//
// Its functions throw exceptions derived from std::runtime_error; what() says the path, what was
// expected and what was found.
class GLUON_RESNET_API Predictor {
 public:
  // PREFIX-symbol.json, PREFIX-0000.params and PREFIX-model.json are what tools/export.py writes.
  // Throws for files that are damaged or do not belong together.
  explicit Predictor(const std::string& prefix, size_t batch_size = 16);

  // For a model without a card, or with another card than its own.
  Predictor(const std::string& prefix, ModelCard card, size_t batch_size = 16);
  Predictor(const std::string& symbol_path, const std::string& params_path, ModelCard card,
            size_t batch_size = 16);

  ~Predictor();
  Predictor(Predictor&&) noexcept;
  Predictor& operator=(Predictor&&) noexcept;

  const ModelCard& card() const;  // always has classes
  size_t batch_size() const;      // the most images that go through the network at once
  size_t input_size() const;      // the number of values of an image: 3 * size * size

  // The network's input for the bytes of a JPEG or PNG file: input_size() RGB values from 0 to 255,
  // in planes of R, G and B. Throws unless the image is complete. Threads may call it concurrently.
  std::vector<float> preprocess(const std::string& bytes) const;
  void preprocess(const void* bytes, size_t size, float* input) const;

  // The same for the file of this name, which may have at most 512 MiB.
  std::vector<float> preprocess_file(const std::string& path) const;

  // The network's outputs, before the softmax, for any number of concatenated images: one per class
  // for each image.
  std::vector<float> logits(const std::vector<float>& inputs);
  void logits(const float* inputs, size_t images, float* outputs);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The `count` largest values of the softmax of one image's logits, as (label, probability), largest
// first.
GLUON_RESNET_API std::vector<std::pair<size_t, double>> most_probable(
    const std::vector<float>& logits, size_t count);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PREDICTOR_H_
