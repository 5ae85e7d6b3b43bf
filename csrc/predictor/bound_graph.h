// A network bound to its parameters, for batches of any size up to its own.
#ifndef GLUON_RESNET_BOUND_GRAPH_H_
#define GLUON_RESNET_BOUND_GRAPH_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

namespace gluon_resnet {

// Owns MXNet's handles; one per thread.
class BoundGraph {
 public:
  struct File {
    const std::string& path;
    const std::string& content;
  };

  // The files must have been checked. `size` is the side of an image, in pixels.
  BoundGraph(const File& symbol, const File& params, int size, size_t classes, size_t batch_size);

  ~BoundGraph();
  BoundGraph(const BoundGraph&) = delete;
  BoundGraph& operator=(const BoundGraph&) = delete;

  size_t batch_size() const { return batch_size_; }

  // Turns `images` images, from 1 to batch_size(), into as many rows of logits.
  void forward(const float* inputs, size_t images, float* outputs);

 private:
  struct Free {
    void operator()(void* handle) const;
  };
  using Handle = std::unique_ptr<void, Free>;

  void* handle_for(size_t images);

  // MXPredReshape returns another handle. It shares the parameters and intermediate memory, but not
  // the weights in oneDNN's layout, which are as large as the parameters: so few are kept.
  static constexpr size_t kKept = 2;

  std::string path_;
  size_t input_size_;
  size_t classes_;
  size_t batch_size_;
  uint32_t side_;
  Handle handle_;                                  // for batch_size_ images
  std::deque<std::pair<size_t, Handle>> smaller_;  // for other numbers, most recently used first
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_BOUND_GRAPH_H_
