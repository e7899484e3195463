package androidx.camera.core

import android.graphics.Bitmap

interface ImageInfo { val rotationDegrees: Int }

interface ImageProxy : AutoCloseable {
    val imageInfo: ImageInfo
    fun toBitmap(): Bitmap
}

class ImageCaptureException(code: Int, message: String, cause: Throwable?) : Exception(message, cause)

class ImageCapture {
    abstract class OnImageCapturedCallback {
        open fun onCaptureSuccess(image: ImageProxy): Unit = TODO()
        open fun onError(error: ImageCaptureException): Unit = TODO()
    }
}
