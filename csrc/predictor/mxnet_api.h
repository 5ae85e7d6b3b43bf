// The functions of MXNet's C API that a predictor calls, in libmxnet.so.
//
// That library is loaded at the first call, not linked: on loading it reads the number of threads
// from the environment, and it exports its own libjpeg, libpng and parts of OpenCV, which must not
// replace ours.
#ifndef GLUON_RESNET_MXNET_API_H_
#define GLUON_RESNET_MXNET_API_H_

// MXNet's headers need these two before them.
#include <cstddef>
#include <cstdint>
// This comment keeps the include order.
#include <mxnet/c_api.h>
#include <mxnet/c_predict_api.h>

#include <string>

namespace gluon_resnet {

struct MxnetApi {
  decltype(&::MXGetLastError) MXGetLastError;
  decltype(&::MXNDArrayWaitAll) MXNDArrayWaitAll;
  decltype(&::MXPredCreate) MXPredCreate;
  decltype(&::MXPredForward) MXPredForward;
  decltype(&::MXPredFree) MXPredFree;
  decltype(&::MXPredGetOutput) MXPredGetOutput;
  decltype(&::MXPredReshape) MXPredReshape;
  decltype(&::MXPredSetInput) MXPredSetInput;
  decltype(&::MXSymbolCreateFromJSON) MXSymbolCreateFromJSON;
  decltype(&::MXSymbolFree) MXSymbolFree;
  decltype(&::MXSymbolGetInternals) MXSymbolGetInternals;
  decltype(&::MXSymbolInferShapePartialEx64) MXSymbolInferShapePartialEx64;
  decltype(&::MXSymbolInferTypePartial) MXSymbolInferTypePartial;
  decltype(&::MXSymbolListArguments) MXSymbolListArguments;
  decltype(&::MXSymbolListAuxiliaryStates) MXSymbolListAuxiliaryStates;

  // Throws Error(kSystem) with `path` and MXNet's error, unless `status` is 0.
  void check(int status, const std::string& path) const;

  // "MXNet says: " and the cause of its last error in this thread.
  std::string says() const;
};

// Loads the library if that has not been done: the one found at build time, or the one named by
// GLUON_RESNET_MXNET_LIBRARY. Before that it sets, if they are unset, the variables for the number
// of threads (see share_processors(); GLUON_RESNET_OMP_THREADS overrides OMP_NUM_THREADS) and for
// the time that threads spin, as gluon_resnet/_mxnet.py does.
const MxnetApi& mxnet_api();

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_MXNET_API_H_
