// The names, shapes and types in MXNet's .params files.
//
//   uint64 0x112, uint64 0, uint64 number of arrays, the arrays, uint64 number of names, the names
//   array: uint32 0xF993FAC9, int32 storage type (0: dense), int32 ndim, int64 shape[ndim],
//          int32 device type, int32 device id, int32 data type, the values in C order
//          (in older files: uint32 0xF993FAC8, and no storage type)
//   name:  uint64 length, bytes
//
// All little-endian. MXNet's own reader says of a damaged file neither where nor what.
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
  int type = -1;  // MXNet's number of it; -1: not known
};
using Arrays = std::map<std::string, Array>;

// "(16, 3, 3, 3)", "(16,)"
std::string to_string(const Shape& shape);

// Of the file `path`, whose content is `bytes`; names begin with "arg:" or "aux:".
// Throws Error(kSystem) with path and offset for anything but a whole file of dense arrays.
Arrays read_arrays(const std::string& path, const std::string& bytes);

// Throws Error(kSystem), naming the array, unless `found`, read from `path`, has the names, shapes
// and types of `expected` and no others. A length of 0 or -1 is not known and fits any.
void check_arrays(const std::string& path, const Arrays& expected, const Arrays& found);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PARAMETERS_H_
