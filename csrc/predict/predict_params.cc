#include "predict/predict_params.h"

#include <cstddef>
#include <cstring>

#include "predict/predict_error.h"

namespace gluon_resnet {
namespace {

// A position in the bytes of a file; every step is checked against the end.
class Reader {
 public:
  Reader(const std::string& path, const std::string& bytes) : path_(path), bytes_(bytes) {}

  [[noreturn]] void fail(const std::string& message, size_t offset) const {
    fail_model(path_, concat(message, " (at byte ", offset, ")"), static_cast<int64_t>(offset));
  }

  const char* take(uint64_t size, const char* what) {
    const uint64_t left = bytes_.size() - offset_;
    if (size > left) {
      fail(concat("expected ", size, " bytes of ", what, ", found ", left), offset_);
    }
    const char* const at = bytes_.data() + offset_;
    offset_ += size;
    return at;
  }

  template <typename T>
  T number(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }

  Shape array() {
    const size_t start = offset_;
    const auto magic = number<uint32_t>("an array's header");
    const auto storage = number<int32_t>("an array's header");
    const auto dimensions = number<int32_t>("an array's header");
    // The second magic is that of MXNet's numpy semantics.
    const bool known = magic == 0xF993FAC9 || magic == 0xF993FACA;
    if (!known || storage != 0 || dimensions < 1 || dimensions > 32) {
      fail("expected a dense array as MXNet 1.5 or later writes it, found something else", start);
    }
    Shape shape;
    uint64_t elements = 1;
    for (int i = 0; i < dimensions; ++i) {
      shape.push_back(number<int64_t>("an array's shape"));
      // More elements than bytes in the file: take() will say so; the product must not overflow.
      if (shape.back() < 0) fail("impossible array of shape " + to_string(shape), start);
      if (__builtin_mul_overflow(elements, shape.back(), &elements)) elements = kTooMany;
      if (elements > kTooMany) elements = kTooMany;
    }
    take(2 * sizeof(int32_t), "an array's device");
    const auto type = number<int32_t>("an array's data type");
    if (type < 0 || type > 6) fail(concat("impossible data type ", type, " of an array"), start);
    take(elements * kElementSizes[type], "an array's values");
    return shape;
  }

  std::string name() {
    const auto length = number<uint64_t>("a name's length");
    return std::string(take(length, "a name"), length);
  }

  // Of things that take at least a byte each.
  uint64_t count(const char* what) {
    const auto count = number<uint64_t>(what);
    if (count > bytes_.size()) fail(concat("impossible ", what, ": ", count), offset_ - 8);
    return count;
  }

  size_t offset() const { return offset_; }

 private:
  static constexpr uint64_t kTooMany = uint64_t{1} << 60;
  // float32, float64, float16, uint8, int32, int8, int64
  static constexpr uint64_t kElementSizes[] = {4, 8, 2, 1, 4, 1, 8};

  const std::string& path_;
  const std::string& bytes_;
  size_t offset_ = 0;
};

}  // namespace

std::string to_string(const Shape& shape) {
  std::string text;
  for (const int64_t length : shape) text += (text.empty() ? "" : ", ") + std::to_string(length);
  return "(" + text + ")";
}

Shapes read_shapes(const std::string& path, const std::string& bytes) {
  Reader reader(path, bytes);
  const auto magic = reader.number<uint64_t>("the header");
  if (magic != 0x112 || reader.number<uint64_t>("the header") != 0) {
    reader.fail("this is not an MXNet parameter file", 0);
  }
  std::vector<Shape> arrays(reader.count("number of arrays"));
  for (Shape& shape : arrays) shape = reader.array();
  if (reader.count("number of names") != arrays.size()) {
    reader.fail(concat("expected ", arrays.size(), " names"), reader.offset() - 8);
  }
  Shapes shapes;
  for (const Shape& shape : arrays) {
    if (const std::string name = reader.name(); !shapes.emplace(name, shape).second) {
      reader.fail("there are two parameters " + name, reader.offset());
    }
  }
  if (reader.offset() != bytes.size()) {
    reader.fail(concat(bytes.size() - reader.offset(), " bytes follow the end"), reader.offset());
  }
  return shapes;
}

void check_shapes(const std::string& path, const Shapes& expected, const Shapes& found) {
  const auto fail = [&](const std::string& name, const std::string& message) {
    fail_model(path, concat("parameter ", name, message));
  };
  for (const auto& [name, shape] : expected) {
    const auto at = found.find(name);
    if (at == found.end()) fail(name, " is missing, expected with shape " + to_string(shape));
    if (at->second != shape) {
      fail(name, ": expected shape " + to_string(shape) + ", found " + to_string(at->second));
    }
  }
  for (const auto& [name, shape] : found) {
    if (expected.count(name) == 0) fail(name, " does not belong to this network");
  }
}

}  // namespace gluon_resnet
