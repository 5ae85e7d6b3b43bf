// The names, shapes and types in MXNet's .params files.
//
//   uint64 0x112, uint64 0, uint64 number of arrays, the arrays, uint64 number of names, the names
//   array: uint32 0xF993FAC9, int32 storage type (0: dense), int32 ndim, int64 shape[ndim],
//          int32 device type, int32 device id, int32 data type, the values in C order
//          (in older files: uint32 0xF993FAC8, and no storage type)
//   name:  uint64 length, bytes
//
// All are little-endian. MXNet's own reader does not say what is wrong with a damaged file.
#ifndef GLUON_RESNET_PARAMETERS_H_
#define GLUON_RESNET_PARAMETERS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gluon_resnet {

using Shape = std::vector<int64_t>;

struct Array {
  Shape shape;
  int type = -1;  // MXNet's number for it; -1: unknown
};
using Arrays = std::map<std::string, Array>;

// The shape as text: "(16, 3, 3, 3)" or "(16,)".
std::string to_string(const Shape& shape);

// The arrays of the file `path`, whose content is `bytes`; names begin with "arg:" or "aux:".
// Throws Error(kSystem) with path and offset unless it is a complete file of dense arrays.
Arrays read_arrays(const std::string& path, const std::string& bytes);

// Throws Error(kSystem), naming the array, unless `found`, read from `path`, has exactly the names,
// shapes and types of `expected`. A length of 0 or -1 is unknown and fits any.
void check_arrays(const std::string& path, const Arrays& expected, const Arrays& found);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PARAMETERS_H_
