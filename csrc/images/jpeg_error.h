// How errors leave libjpeg. It reports them through callbacks that must not return, and it is C, so
// we use longjmp to return to where the caller has called setjmp(errors.leave).
#ifndef GLUON_RESNET_JPEG_ERROR_H_
#define GLUON_RESNET_JPEG_ERROR_H_

#include <csetjmp>
#include <cstdio>
// libjpeg's header needs <cstdio> before it.
#include <jpeglib.h>

namespace gluon_resnet {

struct JpegErrors {
  jpeg_error_mgr manager;  // first, so that a pointer to it is a pointer to this
  std::jmp_buf leave;
  char message[JMSG_LENGTH_MAX];
  bool partial = false;  // decoder.h: DecodeOptions
};

[[noreturn]] inline void jpeg_leave(j_common_ptr codec) {
  auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
  (*errors->manager.format_message)(codec, errors->message);
  std::longjmp(errors->leave, 1);
}

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_JPEG_ERROR_H_
