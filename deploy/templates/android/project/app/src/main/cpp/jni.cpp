// The native half of Model.kt: the bundle of the C++ template behind six functions. Errors become Java exceptions.

#include <jni.h>

#include <exception>
#include <string>
#include <vector>

#include "bundle.hpp"
#include "golden.hpp"
#include "json.hpp"

namespace {

std::string of_java(JNIEnv* env, jstring text) {
  const jclass type = env->FindClass("java/lang/String");  // (GetStringUTFChars gives modified UTF-8)
  const jmethodID bytes = env->GetMethodID(type, "getBytes", "(Ljava/lang/String;)[B");
  const auto array = static_cast<jbyteArray>(env->CallObjectMethod(text, bytes, env->NewStringUTF("UTF-8")));
  std::string result(static_cast<size_t>(env->GetArrayLength(array)), '\0');
  env->GetByteArrayRegion(array, 0, static_cast<jsize>(result.size()), reinterpret_cast<jbyte*>(result.data()));
  return result;
}

jstring to_java(JNIEnv* env, const std::string& text) {
  const jclass type = env->FindClass("java/lang/String");
  const jmethodID make = env->GetMethodID(type, "<init>", "([BLjava/lang/String;)V");
  const jbyteArray array = env->NewByteArray(static_cast<jsize>(text.size()));
  env->SetByteArrayRegion(array, 0, static_cast<jsize>(text.size()), reinterpret_cast<const jbyte*>(text.data()));
  return static_cast<jstring>(env->NewObject(type, make, array, env->NewStringUTF("UTF-8")));
}

template <class F>
auto guarded(JNIEnv* env, F action) -> decltype(action()) {
  try {
    return action();
  } catch (const std::exception& error) {
    env->ThrowNew(env->FindClass("java/lang/IllegalArgumentException"), error.what());
    return {};
  }
}

const Bundle& bundle(jlong handle) { return *reinterpret_cast<const Bundle*>(handle); }

jstring written(JNIEnv* env, const json::Value& answer) {
  std::string line;
  json::write(line, answer);
  return to_java(env, line);
}

}  // namespace

#define JAVA(type, name) extern "C" JNIEXPORT type JNICALL Java_app_edgeopt_@@IDENT@@_Model_##name

JAVA(jlong, open)(JNIEnv* env, jobject, jstring folder, jstring table) {
  return guarded(env, [&] { return reinterpret_cast<jlong>(new Bundle(of_java(env, folder), "libonnxruntime.so", of_java(env, table), 0)); });
}

JAVA(void, close)(JNIEnv*, jobject, jlong handle) { delete reinterpret_cast<Bundle*>(handle); }

JAVA(jstring, predictText)(JNIEnv* env, jobject, jlong handle, jobjectArray texts) {
  return guarded(env, [&] {
    std::vector<std::string> raw;
    for (jsize k = 0; k < env->GetArrayLength(texts); ++k) raw.push_back(of_java(env, static_cast<jstring>(env->GetObjectArrayElement(texts, k))));
    return written(env, bundle(handle).predict(raw));
  });
}

JAVA(jstring, predictPixels)(JNIEnv* env, jobject, jlong handle, jintArray colours, jint width, jint height) {
  return guarded(env, [&] {
    std::vector<jint> argb(static_cast<size_t>(width) * static_cast<size_t>(height));
    env->GetIntArrayRegion(colours, 0, static_cast<jsize>(argb.size()), argb.data());
    images::Image image;
    image.width = width;
    image.height = height;
    for (const jint colour : argb) for (const int shift : {16, 8, 0}) image.data.push_back(static_cast<float>(colour >> shift & 255));
    return written(env, bundle(handle).predict_image(image));
  });
}

JAVA(jstring, predictWav)(JNIEnv* env, jobject, jlong handle, jbyteArray bytes) {
  return guarded(env, [&] {
    std::vector<unsigned char> content(static_cast<size_t>(env->GetArrayLength(bytes)));
    env->GetByteArrayRegion(bytes, 0, static_cast<jsize>(content.size()), reinterpret_cast<jbyte*>(content.data()));
    return written(env, bundle(handle).predict_wav(content));
  });
}

JAVA(jstring, checkGolden)(JNIEnv* env, jobject, jlong handle, jstring folder) {
  return guarded(env, [&] { return to_java(env, golden::report(bundle(handle), of_java(env, folder)).first); });
}
