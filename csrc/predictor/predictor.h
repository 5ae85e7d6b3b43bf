// An exported network, ready to predict: RAII over MXNet's C predict API.
//
// Installed as <gluon_resnet/predictor.h>; it needs the standard library alone. libmxnet.so is
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

// What has to be known about a model besides its graph and parameters.
struct ModelCard {
  std::vector<std::string> classes;      // names, in the order of the outputs; empty: their numbers
  int size = 224;                        // side of the centre crop, in pixels
  int resize = 0;                        // shorter side before the crop, in pixels; 0: as it is
  std::string interpolation = "linear";  // or nearest, cubic, area, lanczos
};

// Reads PREFIX-model.json. Throws std::runtime_error, with the path, for anything that does not
// describe classes and an evaluation transform.
GLUON_RESNET_API ModelCard read_card(const std::string& path);

// How many predictors of this process compute side by side, and with how many OpenMP threads each.
// Without it that is one, with all processors that the process may use (affinity, control groups).
// More predictors than `predictors` are right, too, but wait for each other.
//
// MXNet reads this when it is loaded: std::runtime_error after the first Predictor. Where the
// environment has MXNET_CPU_WORKER_NTHREADS or OMP_NUM_THREADS, these stand.
GLUON_RESNET_API void share_processors(int predictors, int threads_each);

// On the CPU, for one thread at a time, but for preprocess(). Make one in each thread that shall
// predict: each has weights of its own, because the predictors that MXPredCreateMultiThread makes
// over common weights have a common input, too, and overwrite each other's images.
//
// Its functions throw exceptions derived from std::runtime_error; what() has the path, what was
// expected and what was found.
class GLUON_RESNET_API Predictor {
 public:
  // PREFIX-symbol.json, PREFIX-0000.params and PREFIX-model.json are what tools/export.py writes.
  // Throws for files that are damaged or do not belong together.
  explicit Predictor(const std::string& prefix, size_t batch_size = 16);

  // For a model without card, or another than its own.
  Predictor(const std::string& prefix, ModelCard card, size_t batch_size = 16);
  Predictor(const std::string& symbol_path, const std::string& params_path, ModelCard card,
            size_t batch_size = 16);

  ~Predictor();
  Predictor(Predictor&&) noexcept;
  Predictor& operator=(Predictor&&) noexcept;

  const ModelCard& card() const;  // always with classes
  size_t batch_size() const;      // how many images at most go through the network at once
  size_t input_size() const;      // values of an image: 3 * size * size

  // The network's input for the bytes of a JPEG or PNG file: input_size() RGB values of 0 to 255,
  // planes of R, G and B. Throws for anything but a whole image. Any number of threads may call it.
  std::vector<float> preprocess(const std::string& bytes) const;
  void preprocess(const void* bytes, size_t size, float* input) const;

  // The same for the file of this name, which has at most 512 MiB.
  std::vector<float> preprocess_file(const std::string& path) const;

  // The network's outputs, before the softmax, for any number of images behind each other: for
  // each of them as many as there are classes.
  std::vector<float> logits(const std::vector<float>& inputs);
  void logits(const float* inputs, size_t images, float* outputs);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The `count` largest of the softmax of one image's logits, as (label, probability), the largest
// first.
GLUON_RESNET_API std::vector<std::pair<size_t, double>> most_probable(
    const std::vector<float>& logits, size_t count);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PREDICTOR_H_
