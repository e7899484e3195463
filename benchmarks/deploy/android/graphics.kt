package android.graphics

import android.content.ContentResolver
import android.net.Uri

class Bitmap {
    enum class Config { ARGB_8888 }

    val width: Int get() = TODO()
    val height: Int get() = TODO()
    fun copy(config: Config, mutable: Boolean): Bitmap = TODO()
    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int): Unit = TODO()

    companion object {
        fun createBitmap(source: Bitmap, x: Int, y: Int, width: Int, height: Int, matrix: Matrix?, filter: Boolean): Bitmap = TODO()
    }
}

class Matrix { fun postRotate(degrees: Float): Boolean = TODO() }

class Paint {
    enum class Style { STROKE, FILL }

    var style: Style = TODO()
    var strokeWidth: Float = TODO()
    var color: Int = TODO()
    var textSize: Float = TODO()
}

class Canvas(bitmap: Bitmap) {
    fun drawRect(left: Float, top: Float, right: Float, bottom: Float, paint: Paint): Unit = TODO()
    fun drawText(text: String, x: Float, y: Float, paint: Paint): Unit = TODO()
}

object Color { const val RED = -65536 }

class ImageDecoder {
    class ImageInfo
    class Source
    var allocator: Int = TODO()

    companion object {
        const val ALLOCATOR_SOFTWARE = 1
        fun createSource(resolver: ContentResolver, uri: Uri): Source = TODO()
        fun decodeBitmap(source: Source, listener: (ImageDecoder, ImageInfo, Source) -> Unit): Bitmap = TODO()
    }
}
