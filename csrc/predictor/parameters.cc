#include "predictor/parameters.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/printable.h"
#include "base/utf8.h"
#include "predictor/model_error.h"

namespace gluon_resnet {
namespace {

constexpr const char* kTypeNames[] = {"float32", "float64", "float16", "uint8",
                                      "int32",   "int8",    "int64"};

std::string type_name(int type) {
  return type < 7 ? kTypeNames[type] : concat("the data type ", type);
}

// A position in the bytes of a file; every advance is checked against the end.
class Reader {
 public:
  Reader(const std::string& path, const std::string& bytes) : path_(path), bytes_(bytes) {}

  [[noreturn]] void fail(const std::string& message, size_t offset) const {
    fail_model(path_, concat(message, " (at byte ", offset, ")"), static_cast<int64_t>(offset));
  }

  const char* take(uint64_t size, const std::string& what) {
    const uint64_t left = bytes_.size() - offset_;
    if (size > left) {
      fail(concat("expected ", size, " bytes of ", what, ", found ", left), offset_);
    }
    const char* const at = bytes_.data() + offset_;
    offset_ += size;
    return at;
  }

  template <typename T>
  T number(const std::string& what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }

  Array array() {
    const size_t start = offset_;
    const auto magic = number<uint32_t>("an array's header");
    const auto storage = magic == kOldMagic ? 0 : number<int32_t>("an array's header");
    const auto dimensions = number<int32_t>("an array's header");
    // The last magic number is that of MXNet's numpy semantics.
    const bool known = magic == kOldMagic || magic == 0xF993FAC9 || magic == 0xF993FACA;
    if (!known || storage != 0 || dimensions < 1 || dimensions > 32) {
      fail("expected a dense array as MXNet writes it, found something else", start);
    }
    Shape shape(static_cast<size_t>(dimensions));
    const size_t size = shape.size() * sizeof(int64_t);
    std::memcpy(shape.data(), take(size, "an array's shape"), size);
    // A length of 0 makes the array empty, but the other lengths must still be valid.
    uint64_t elements = 1;
    for (const int64_t length : shape) {
      const bool overflows =
          length < 0 || __builtin_mul_overflow(elements, std::max<uint64_t>(length, 1), &elements);
      if (overflows || elements > kTooMany) {
        fail("impossible array of shape " + to_string(shape), start);
      }
    }
    if (std::count(shape.begin(), shape.end(), 0) > 0) elements = 0;
    take(2 * sizeof(int32_t), "an array's device");
    const auto type = number<int32_t>("an array's data type");
    if (type < 0 || type > 6) fail(concat("impossible data type ", type, " of an array"), start);
    take(elements * kElementSizes[type], "values of an array of shape " + to_string(shape));
    return {shape, type};
  }

  std::string name() {
    const auto length = number<uint64_t>("a name's length");
    const size_t start = offset_;
    const std::string name(take(length, "a name"), length);
    for (size_t i = 0, step = 0; i < name.size(); i += step) {
      step = utf8_length(std::string_view(name).substr(i, 4));
      if (step == 0) fail("a name is not UTF-8", start);
    }
    return name;
  }

  // Reads a count of things that take at least a byte each.
  uint64_t count(const char* what) {
    const auto count = number<uint64_t>(concat("the number of ", what));
    if (count > bytes_.size()) {
      fail(concat("impossible number of ", what, ": ", count), offset_ - 8);
    }
    return count;
  }

  size_t offset() const { return offset_; }

 private:
  static constexpr uint32_t kOldMagic = 0xF993FAC8;  // from before MXNet had sparse arrays
  static constexpr uint64_t kTooMany = uint64_t{1} << 48;
  static constexpr uint64_t kElementSizes[] = {4, 8, 2, 1, 4, 1, 8};  // in the order of kTypeNames

  const std::string& path_;
  const std::string& bytes_;
  size_t offset_ = 0;
};

}  // namespace

std::string to_string(const Shape& shape) {
  std::string text;
  for (const int64_t length : shape) text += (text.empty() ? "" : ", ") + std::to_string(length);
  return "(" + text + (shape.size() == 1 ? ",)" : ")");
}

Arrays read_arrays(const std::string& path, const std::string& bytes) {
  Reader reader(path, bytes);
  uint64_t header[2];
  std::memcpy(header, reader.take(sizeof(header), "the header"), sizeof(header));
  if (header[0] != 0x112 || header[1] != 0) {
    reader.fail("this is not an MXNet parameter file", 0);
  }
  std::vector<Array> arrays;  // grows as arrays are read
  for (uint64_t left = reader.count("arrays"); left > 0; --left) arrays.push_back(reader.array());
  if (const uint64_t names = reader.count("names"); names != arrays.size()) {
    reader.fail(concat("expected ", arrays.size(), " names, found ", names), reader.offset() - 8);
  }
  Arrays named;
  for (const Array& array : arrays) {
    const size_t start = reader.offset();
    if (const std::string name = reader.name(); !named.emplace(name, array).second) {
      reader.fail("there are two parameters named " + printable_name(name), start);
    }
  }
  if (reader.offset() != bytes.size()) {
    reader.fail(concat(bytes.size() - reader.offset(), " bytes follow the end"), reader.offset());
  }
  return named;
}

void check_arrays(const std::string& path, const Arrays& expected, const Arrays& found) {
  const auto fail = [&](const std::string& name, const std::string& message) {
    fail_model(path, concat("parameter ", printable_name(name), message));
  };
  const auto fits = [](int64_t a, int64_t b) { return a == b || a == 0 || a == -1; };
  for (const auto& [name, array] : expected) {
    const auto at = found.find(name);
    const std::string shape = to_string(array.shape);
    if (at == found.end()) fail(name, " is missing, expected with shape " + shape);
    const Shape& other = at->second.shape;
    if (!std::equal(array.shape.begin(), array.shape.end(), other.begin(), other.end(), fits)) {
      fail(name, ": expected shape " + shape + ", found " + to_string(other));
    }
  }
  const std::string* extra = nullptr;
  size_t extras = 0;
  for (const auto& entry : found) {
    if (expected.count(entry.first) > 0) continue;
    if (extras++ == 0) extra = &entry.first;
  }
  if (extras > 0) fail(*extra, concat(" (one of ", extras, ") does not belong to this network"));
  for (const auto& [name, array] : expected) {
    const int type = found.at(name).type;
    const int wanted = std::max(array.type, 0);  // an unknown type is float32
    if (type != wanted) {
      fail(name, concat(": expected ", type_name(wanted), ", found ", type_name(type)));
    }
  }
}

}  // namespace gluon_resnet
