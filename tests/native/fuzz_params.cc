// A libFuzzer target: whatever the bytes of a .params file, reading it gives an Error(kSystem), or
// names and shapes that the bytes have room for.

#include <cstdint>
#include <string>

#include "predictor/parameters.h"
#include "refused.h"

namespace gluon_resnet {
namespace {

void run(const std::string& bytes) {
  Arrays arrays;
  try {
    arrays = read_arrays("a.params", bytes);
  } catch (const Error& error) {
    require_refusal(error, ErrorKind::kSystem);
    require(error.path == "a.params", "an error has the path");
    require(error.offset >= 0 && static_cast<uint64_t>(error.offset) <= bytes.size(),
            "an error's offset is in the file");
    return;
  }
  size_t least = 32;  // two magics, two counts
  for (const auto& [name, array] : arrays) {
    size_t elements = 1;
    for (const int64_t length : array.shape) {
      require(length >= 0, "a length is not negative");
      elements = length == 0 ? 0 : elements * static_cast<size_t>(length);
      if (elements == 0) break;
    }
    // The oldest kind of array has no storage type: magic, dimensions, device, data type.
    least += 8 + name.size() + 20 + 8 * array.shape.size() + elements;
  }
  require(least <= bytes.size(), "names and values are in the file");
}

}  // namespace
}  // namespace gluon_resnet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gluon_resnet::run(std::string(data, data + size));
  return 0;
}
