// Errors about a model's files.
#ifndef GLUON_RESNET_MODEL_ERROR_H_
#define GLUON_RESNET_MODEL_ERROR_H_

#include <cstdint>
#include <string>

#include "base/error.h"

namespace gluon_resnet {

[[noreturn]] inline void fail_model(const std::string& path, const std::string& message,
                                    int64_t offset = -1) {
  throw Error(ErrorKind::kSystem, concat(path, ": ", message), path, offset);
}

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_MODEL_ERROR_H_
