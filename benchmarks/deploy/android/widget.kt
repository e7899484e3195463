package android.widget

import android.graphics.Bitmap
import android.view.View

open class TextView : View() {
    var text: CharSequence? = TODO()
    fun setText(resource: Int): Unit = TODO()
}

class Button : TextView()

class EditText : TextView()

class ImageView : View() { fun setImageBitmap(bitmap: Bitmap): Unit = TODO() }
