#include "predictor/bound_graph.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <mutex>

#include "predictor/model_error.h"
#include "predictor/mxnet_api.h"
#include "predictor/mxnet_graph.h"

namespace gluon_resnet {
namespace {

// Guards MXPredCreate and MXPredReshape: the passes that fuse a graph keep it in process-wide
// objects.
std::mutex binding;

std::atomic<int> bound{0};  // graphs

// The network's only input, in the form that both functions expect.
struct InputShape {
  InputShape(size_t images, uint32_t side) : shape{static_cast<uint32_t>(images), 3, side, side} {}

  const char* name = kGraphInput;
  std::array<uint32_t, 2> offsets{0, 4};
  std::array<uint32_t, 4> shape;
};

}  // namespace

void BoundGraph::Free::operator()(void* handle) const { mxnet_api().MXPredFree(handle); }

BoundGraph::BoundGraph(const File& symbol, const File& params, int size, size_t classes,
                       size_t batch_size)
    : path_(symbol.path),
      input_size_(size_t{3} * size * size),
      classes_(classes),
      batch_size_(batch_size),
      side_(static_cast<uint32_t>(size)) {
  // MXNet's C API counts in 32 bits.
  const size_t most = UINT32_MAX / std::max(input_size_, classes);
  if (batch_size < 1 || batch_size > most) {
    throw Error(ErrorKind::kUsage,
                concat("expected a batch of 1 to ", most, " images, found ", batch_size));
  }
  if (params.content.size() > INT_MAX) {
    fail_model(params.path, "MXNet's C API accepts at most 2 GiB");
  }
  const MxnetApi& api = mxnet_api();
  InputShape input(batch_size, side_);
  constexpr int kCpu = 1;
  void* handle = nullptr;
  const std::lock_guard<std::mutex> lock(binding);
  api.check(api.MXPredCreate(symbol.content.c_str(), params.content.data(),
                             static_cast<int>(params.content.size()), kCpu, 0, 1, &input.name,
                             input.offsets.data(), input.shape.data(), &handle),
            path_);
  handle_.reset(handle);
  ++bound;
}

// MXNet frees arrays in threads of its own: a process that ends before they finish destroys what
// they need, and 1 in 200 ended in std::terminate. While there are other predictors, they may never
// finish.
BoundGraph::~BoundGraph() {
  smaller_.clear();
  handle_.reset();
  if (--bound == 0) mxnet_api().MXNDArrayWaitAll();
}

void* BoundGraph::handle_for(size_t images) {
  if (images == batch_size_) return handle_.get();
  const auto found = std::find_if(smaller_.begin(), smaller_.end(),
                                  [&](const auto& entry) { return entry.first == images; });
  if (found != smaller_.end()) {
    std::rotate(smaller_.begin(), found, found + 1);
    return smaller_.front().second.get();
  }
  if (smaller_.size() == kKept) smaller_.pop_back();
  const MxnetApi& api = mxnet_api();
  InputShape input(images, side_);
  void* handle = nullptr;
  const std::lock_guard<std::mutex> lock(binding);
  api.check(api.MXPredReshape(1, &input.name, input.offsets.data(), input.shape.data(),
                              handle_.get(), &handle),
            path_);
  smaller_.emplace_front(images, Handle(handle));
  return handle;
}

void BoundGraph::forward(const float* inputs, size_t images, float* outputs) {
  const MxnetApi& api = mxnet_api();
  void* const handle = handle_for(images);
  const auto input_size = static_cast<uint32_t>(images * input_size_);
  const auto output_size = static_cast<uint32_t>(images * classes_);
  api.check(api.MXPredSetInput(handle, kGraphInput, inputs, input_size), path_);
  api.check(api.MXPredForward(handle), path_);
  api.check(api.MXPredGetOutput(handle, 0, outputs, output_size), path_);
}

}  // namespace gluon_resnet
